"""What lies in a store and on the wire: the manifest, its table of samples, and the payload of an answer. Pure."""
