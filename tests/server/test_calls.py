"""What is called of the C library is what calls.h declares, and is had without reading C."""

import subprocess
import sys

from tests.support.calls import MADE, made


def test_it_is_made_of_the_header() -> None:
    assert made() == MADE.read_text()


def test_no_parser_of_c_is_loaded() -> None:
    code = "import sys, kdns.server.udp as udp; print(udp.BY_BATCHES, 'pycparser' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "True False" == found.strip()
