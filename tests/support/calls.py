"""kdns/server/calls.py, made of calls.h by cffi: `make calls`.

To read C takes 5 MB and 40 ms each time that kdns starts, so it is done beforehand.
"""

import tempfile
from pathlib import Path

from cffi import FFI

from tests.support import ROOT

HEADER = ROOT / "kdns" / "server" / "calls.h"
MADE = HEADER.with_suffix(".py")
DOCSTRING = '"""The declarations of calls.h as cffi reads them: made by `make calls`, not written by hand. No I/O."""\n\n'


def made() -> str:
    """What calls.py is to be."""
    ffi = FFI()
    ffi.cdef(HEADER.read_text())
    ffi.set_source("kdns.server.calls", None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "calls.py")
        ffi.emit_python_code(str(path))
        return DOCSTRING + "# ruff: noqa\n" + path.read_text().partition("\n")[2]


if __name__ == "__main__":
    MADE.write_text(made())
