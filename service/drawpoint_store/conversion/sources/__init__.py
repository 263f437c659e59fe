"""Sources of a conversion: what each kind of data set is read by."""
