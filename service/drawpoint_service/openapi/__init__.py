"""The OpenAPI document of a running service."""
