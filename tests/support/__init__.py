"""What tests share: places, servers, clients, upstreams and API servers to be asked and to misbehave on demand.

How to serve something in a test, from the least to the most:

configured.py  a Corefile without sockets, asked through dnspython: what a plugin does
stage.py       plugins made of functions, for a listener or a server: what sockets do
running.py     a server on the loop of the test, memo and all, and a client with many questions at once
kdns.testing   a server of manifests, as others' tests have it: what a user sees
browser.py     Chromium: what somebody sees who opens the page
processes.py   kdns as a process, over an API server: what a cluster sees
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the repository
TOWN = ROOT / "tests" / "golden" / "town"  # the cluster that golden questions are asked of
