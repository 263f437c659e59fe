"""How samples that lie elsewhere are read here: copied to a bounded folder, whole or in parts, one after the other."""
