"""Numbers in sentences."""


def count(number: int, noun: str) -> str:
    """Return `1 sample`, `1,024 samples`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
