"""The way from a plan to rows: metadata and indexes, what to fetch, where from, and how to decode it."""
