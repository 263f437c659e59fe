"""Statistics of fields: moments of rows, of samples and of a store, and the documents that hold them."""
