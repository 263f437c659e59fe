"""Reading a store: from a plan to rows, by way of metadata, indexes and codecs."""
