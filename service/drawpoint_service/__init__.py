"""HTTP: the service and all that is served by it."""
