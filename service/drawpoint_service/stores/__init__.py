"""The stores that are served, at their present revisions."""
