"""The log's lines are those of logging itself."""

from __future__ import annotations

import logging

from drawpoint_service.server.log_lines import LineFormatter

FORMAT = "%(asctime)s %(process)d %(levelname)s %(message)s"


def test_lines_are_those_that_logging_writes() -> None:
    ours, theirs = LineFormatter(FORMAT), logging.Formatter(FORMAT)
    for created in (1.75e9, 1.75e9 + 0.0419, 1.75e9 + 0.9999, 1.75e9 + 1, 1.75e9 + 3600.5, 1.75e9 + 0.5, 0.001):
        record = logging.LogRecord("drawpoint", logging.INFO, __file__, 1, "%d bytes", (5,), None)
        record.created = created
        record.msecs = float(int(created % 1 * 1000))
        assert ours.format(record) == theirs.format(record)
