"""Lines of the log, whose date and time are written once a second."""

from __future__ import annotations

import logging
import time


class LineFormatter(logging.Formatter):
    """Writes what logging.Formatter writes, which spends half of its time on seconds that it has written before."""

    _second = -1
    _text = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002  logging's
        second = int(record.created)
        if second != self._second:
            self._text = time.strftime(self.default_time_format, self.converter(second))
            self._second = second
        return f"{self._text},{int(record.msecs):03d}"
