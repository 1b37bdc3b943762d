"""Fuzzers of all that comes from outside: `make fuzz`, bounded by count; a second or so of each is part of `make test`.

A *fuzzer* makes inputs from real ones, by a seed, and judges each by what must hold for it: that nothing is raised but what is
meant to be, that what comes out is what was asked for, and that it took steps and memory in proportion. What ever failed is a
line of `cases/<fuzzer>` and is tried first.

    mutation     octets and text that were changed, from a random source
    judging      steps and memory of some work; what was found
    datagrams    queries as datagrams, to a whole configuration and its memo
    streams      queries over TCP, in pieces
    https        requests of DNS over HTTPS, in pieces
    upstream     replies of upstreams
    corefiles    Corefiles
    manifests    manifests
    api          lists and events of an API server
    snapshots    files with a snapshot
    __main__     `python -m tests.fuzz`
"""

from collections.abc import Callable
from functools import partial
from random import Random

from tests.fuzz.api import Api
from tests.fuzz.corefiles import Corefiles
from tests.fuzz.datagrams import Datagrams
from tests.fuzz.https import Requests
from tests.fuzz.judging import Fuzzer
from tests.fuzz.manifests import Manifests
from tests.fuzz.snapshots import Snapshots
from tests.fuzz.streams import Streams
from tests.fuzz.upstream import Upstream

ALL: dict[str, tuple[Callable[[Random], Fuzzer], float]] = {  # each with its part of the datagrams' count
    "datagrams": (partial(Datagrams, closely=50), 1.0),
    "streams": (Streams, 0.02),
    "https": (Requests, 0.02),
    "upstream": (Upstream, 0.05),
    "corefiles": (Corefiles, 0.005),
    "manifests": (Manifests, 0.005),
    "api": (Api, 0.02),
    "snapshots": (Snapshots, 0.005),
}
