"""Files of other programs as arrays: meshes and tables, one array at a time."""
