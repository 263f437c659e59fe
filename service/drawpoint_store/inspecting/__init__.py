"""Work on a store that exists: verify, compare, summarise, measure, upgrade and prune."""
