"""The stores that are served, and whether they can be read."""
