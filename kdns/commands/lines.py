"""What the process writes to its log: lines as CoreDNS writes them, `[INFO] plugin/reload: …`."""

import logging
import sys
from typing import Any

from kdns.errors import one_line


class Lines(logging.Formatter):
    """One line for each record, but for a traceback's."""

    PREFIX = "kdns.plugins."

    def format(self, record: logging.LogRecord) -> str:
        origin = f"plugin/{record.name[len(self.PREFIX) :]}: " if record.name.startswith(self.PREFIX) else ""
        return f"[{record.levelname}] {origin}{super().format(record)}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(one_line, super().formatException(ei).split("\n")))


def log_to_stdout(level: int = logging.INFO) -> None:
    """Send the log of this process to stdout."""
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    logging.getLogger("kdns").setLevel(level)
    logging.raiseExceptions = False
