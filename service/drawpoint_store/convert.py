"""The public door to conversion: `from drawpoint_store.convert import convert`."""

from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.publishing.report import ConversionReport
from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from drawpoint_store.conversion.sharing.shares import Share, convert_share, publish_shares
from drawpoint_store.conversion.sources.recipe_source import RecipeSource

__all__ = [
    "ConversionReport",
    "RecipeSource",
    "Share",
    "convert",
    "convert_share",
    "load_recipe",
    "publish_shares",
]
