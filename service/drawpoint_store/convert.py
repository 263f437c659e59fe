"""The public door to conversion: `from drawpoint_store.convert import convert`."""

from drawpoint_store.conversion.convert import ConversionReport, convert

__all__ = ["ConversionReport", "convert"]
