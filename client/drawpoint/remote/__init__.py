"""Asking a service: connections, readers, requests and their answers, retries, HTTP."""
