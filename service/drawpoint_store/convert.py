"""The public door to conversion: `from drawpoint_store.convert import convert`."""

from drawpoint_store.conversion.convert import ConversionReport, convert
from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource

__all__ = ["ConversionReport", "RecipeSource", "convert", "load_recipe"]
