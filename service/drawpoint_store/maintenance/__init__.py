"""Changes to a store that exists: add checksums and digests (upgrade), remove what no manifest names (prune)."""
