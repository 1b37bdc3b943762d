"""The log of the process, as a command sends it to stdout."""

import logging

from kdns.core.lines import Lines, stdout


def log_to_stdout(level: int = logging.INFO) -> None:
    """Send the log of this process to stdout."""
    logging.basicConfig(level=logging.WARNING, handlers=[Lines(stdout())], force=True)
    logging.getLogger("kdns").setLevel(level)
    logging.raiseExceptions = False
