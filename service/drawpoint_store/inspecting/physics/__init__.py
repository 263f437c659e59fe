"""Whether the values of a store fulfil what physics demands of them: signs, units, axes and sums."""
