"""Where the samples of a source lie, told from the names of its files alone."""
