"""Where bytes lie: local files, buckets, other fsspec URLs; ranges of them, and caches."""
