"""What a store holds, and whether it is whole: verify, compare, summarise, measure. Nothing here changes it."""
