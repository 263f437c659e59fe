"""A first recipe of a source: its domains, fields and scalars, with what a person has to decide."""
