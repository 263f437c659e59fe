"""The server under the application: its socket, its connections, and its end."""
