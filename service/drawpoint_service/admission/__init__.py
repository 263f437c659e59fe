"""How much is answered at once, who waits, and who is refused."""
