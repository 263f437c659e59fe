"""Recipes: which files and arrays of a data set become which fields of a store, as data."""
