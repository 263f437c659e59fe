"""What a conversion is made of: the source tree, its files, the journal of what is done, and the workers."""
