"""What statistics are made of: blocks of values, their moments, and moments that run on."""
