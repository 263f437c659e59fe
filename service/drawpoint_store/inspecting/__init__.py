"""What a store holds, and whether it is whole: verify, compare, summarise. Nothing here changes it."""
