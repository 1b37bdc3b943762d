"""Asking a running server over its *admin* socket, and showing what it says."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from kdns.commands.flags import Parser
from kdns.errors import KdnsError, one_line
from kdns.plugins.admin.desk import PATH

ROW = 90  # characters of a list that is shown in one line
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def parser(command: str, description: str) -> Parser:
    """The flags that all who ask have."""
    made = Parser(f"kdns {command}", description)
    made.flag("socket", "PATH", f"where the server's admin socket is ({PATH}; else the environment's KDNS_SOCKET)")
    made.switch("json", "JSON, a line for each thing")
    return made


def replies(path: str | None, **asked: Any) -> Iterator[dict[str, Any]]:
    """What the server says, one thing after the other; KdnsError where there is none, or it says that something is wrong."""
    path = _path(path)
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            needs = f"the server's Corefile needs the line 'admin' ({PATH}), or 'admin PATH' and --socket PATH here"
            files = "; --manifests FILE asks files in its place" if asked["command"] == "explain" else ""
            raise KdnsError(f"cannot ask a server at {path}: {why}; {needs}{files}") from None
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have said why it does not listen
                sock.sendall(json.dumps(asked).encode() + b"\n")
            with sock.makefile("rb") as lines:
                for line in lines:
                    said = json.loads(line)
                    if "error" in said:
                        raise KdnsError(one_line(said["error"]))
                    yield said
        except (OSError, ValueError):
            raise _ended(path) from None


def reply(path: str | None, **asked: Any) -> dict[str, Any]:
    """The one thing that the server says; KdnsError as of `replies`."""
    for said in replies(path, **asked):
        return said
    raise _ended(_path(path))


def _path(given: str | None) -> str:
    return given or os.environ.get("KDNS_SOCKET") or PATH


def _ended(path: str) -> KdnsError:
    return KdnsError(f"the server at {path} ended before it had answered")


def show(lines: Iterable[str]) -> None:
    """Print lines; through a pager where they are more than a terminal shows at once."""
    if not sys.stdout.isatty():
        for line in lines:
            print(line, flush=True)
        return
    every = list(lines)
    if len(every) < shutil.get_terminal_size().lines or not (pager := shutil.which(os.environ.get("PAGER") or "less")):
        print("\n".join(every))
        return
    environment = {**os.environ, "LESS": os.environ.get("LESS", "FRX")}
    subprocess.run([pager], input="\n".join(every) + "\n", text=True, check=False, env=environment)


def styled(text: str, style: str) -> str:
    """Text in a style, on a terminal alone."""
    text = one_line(text)
    return f"{style}{text}{PLAIN}" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def outline(told: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Names and what stands at them, a line each; what is empty is left out."""
    for name, value in told.items():
        head = "  " * depth + styled(name, DIM)
        if isinstance(value, dict):
            yield head
            yield from outline(value, depth + 1)
        elif row := _row(value):
            yield f"{head}  {one_line(row)}"
        elif isinstance(value, list) and value:
            yield head
            for item in value:
                if isinstance(item, dict):
                    yield from _item(item, depth + 1)
                else:
                    yield "  " * (depth + 1) + one_line(str(item))
        elif value not in ("", None, []):
            yield f"{head}  {one_line(_plain(value))}"


def _row(value: Any) -> str:
    """A list of few short texts as one."""
    row = ", ".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else ""
    return row if len(row) < ROW else ""


def _item(item: dict[str, Any], depth: int) -> Iterator[str]:
    """Of several things the first line begins with what it is called."""
    for at, line in enumerate(outline(item, depth + 1)):
        yield "  " * depth + "- " + line[2 * depth + 2 :] if not at else line


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
