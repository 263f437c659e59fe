"""The end of a conversion: manifest, splits and statistics, and the report of it."""
