"""Who gets in, and when: places, memory, and the pace of refusals."""
