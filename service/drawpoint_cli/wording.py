"""Numbers and names in sentences."""


def count(number: int, noun: str) -> str:
    """Return `1 sample`, `1,024 samples`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(text: str) -> str:
    """Return `text` with what a terminal would not show but obey, such as escape sequences, as Python escapes it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
