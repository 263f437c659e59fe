"""Files of arrays without a mesh, of which each row is a point: NumPy, HDF5, Zarr, torch, CSV and Parquet."""
