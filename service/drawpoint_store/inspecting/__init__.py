"""Looking at a store: verify, compare, summarise, measure, and find what nobody needs."""
