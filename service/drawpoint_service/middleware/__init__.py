"""ASGI middlewares, one concern each; app.py says in which order they stand."""
