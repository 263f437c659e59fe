"""Conversion of a source to a store: sources and their files, worker processes, and the journal of finished samples."""
