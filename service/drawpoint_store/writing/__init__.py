"""Writing a store: the layout of its fields, checks and casts of arrays, a sample's Zarr group, and the writer."""
