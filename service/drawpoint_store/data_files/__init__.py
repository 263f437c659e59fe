"""Files of other programs as arrays: meshes and tables, one array at a time."""

from drawpoint_store.data_files.opening import files_besides, open_data_file

__all__ = ["files_besides", "open_data_file"]
