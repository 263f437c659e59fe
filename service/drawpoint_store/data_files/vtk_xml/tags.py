"""The tags of a VTK XML file, one after the other, past data that no XML library is shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from xml.parsers import expat

from drawpoint.errors import InvalidSample

if TYPE_CHECKING:
    from drawpoint_store.data_files.joined_file import JoinedFile

WINDOW = 1 << 16
"""How many bytes are read at once, and how long a tag may be."""

# A tag ends at the first '>' that is in no quotes: an attribute's value may hold one.
_TAG = re.compile(rb"""<[^<>"']*(?:"[^"]*"[^<>"']*|'[^']*'[^<>"']*)*>""")
_ENCODING = re.compile(rb"""<[?]xml\s[^>]*?encoding\s*=\s*["']([\w.-]+)""")


class Tag(NamedTuple):
    """A tag: its name, its attributes, and whether it opens or closes an element; `<a/>` does both."""

    name: str
    attributes: dict[str, str]
    opens: bool
    closes: bool


class TagReader:
    """Reads a file's tags in order, from `position` on, which moves past each tag and may be moved past data.

    One tag at a time is shown to expat, so that a document type with its entities cannot do anything: it is refused.
    Raises InvalidSample for what is no tag.
    """

    def __init__(self, file: JoinedFile) -> None:
        self.position = 0
        self._file = file
        self._encoding = "UTF-8"
        self._begin, self._window = 0, b""

    def next(self, *, after_space: bool = False) -> Tag:
        """Return the next tag that is no comment; with `after_space` nothing but white space may come before it."""
        while True:
            text_begin = self.position
            self._find(b"<")
            if after_space and self._take(text_begin, self.position).strip():
                raise InvalidSample(f"{self._file} is damaged: other data than a tag follows at byte {text_begin:,}.")
            window = self._fill()
            if window.startswith(b"<!--"):
                self._find(b"-->", past=True)
            elif window.startswith(b"<?"):
                if (declared := _ENCODING.match(window)) is not None:
                    self._encoding = declared[1].decode("ascii")
                self._find(b"?>", past=True)
            else:
                found = _TAG.match(window)
                if found is None or window.startswith(b"<!"):
                    raise InvalidSample(f"{self._file} is no VTK XML file at byte {self.position:,}: no tag there.")
                self.position += found.end()
                return self._parse(found[0])

    def text(self) -> bytes:
        """Return what comes next, without leading white space: up to WINDOW bytes, none at the file's end."""
        while True:
            window = self._fill()
            rest = window.lstrip()
            self.position += len(window) - len(rest)
            if rest or not window:
                return rest

    def _take(self, begin: int, end: int) -> bytes:
        return bytes(self._file.read(begin, min(end - begin, WINDOW)))

    def _fill(self) -> bytes:
        """Return WINDOW bytes from `position` on, or what the file has."""
        wanted = min(WINDOW, self._file.size - self.position)
        offset = self.position - self._begin
        if offset < 0 or offset + wanted > len(self._window):
            self._begin, self._window = self.position, bytes(self._file.read(self.position, wanted))
            offset = 0
        return self._window[offset : offset + wanted]

    def _find(self, sought: bytes, *, past: bool = False) -> None:
        """Move to the next occurrence of `sought`, or past it."""
        while True:
            window = self._fill()
            found = window.find(sought)
            if found >= 0:
                self.position += found + (len(sought) if past else 0)
                return
            if len(window) < WINDOW:
                raise InvalidSample(f"{self._file} ends within its XML: it was cut short, or a part is missing.")
            self.position += len(window) - len(sought) + 1

    def _parse(self, tag: bytes) -> Tag:
        if tag.startswith(b"</"):
            return Tag(tag[2:-1].decode("utf-8", "replace").strip(), {}, opens=False, closes=True)
        found: list[tuple[str, dict[str, str]]] = []
        closes = tag.endswith(b"/>")
        parser = expat.ParserCreate(self._encoding)
        parser.StartElementHandler = lambda name, attributes: found.append((name, attributes))
        try:
            parser.Parse(tag if closes else tag[:-1] + b"/>", True)
        except (expat.ExpatError, LookupError, ValueError) as error:  # the latter for an encoding that Python has not
            shown = tag[:80].decode("utf-8", "replace")
            raise InvalidSample(f"{self._file} has a tag that is not XML ({error}): {shown}") from error
        [(name, attributes)] = found
        return Tag(name, attributes, opens=True, closes=closes)
