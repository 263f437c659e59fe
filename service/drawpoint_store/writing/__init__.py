"""Writing a store: its layout, a sample's arrays and group, checksums that bind them, and the writer."""
