"""Names, queries and replies, drawn by hypothesis or made in one line."""

from hypothesis import strategies as st

from kdns.dns import names
from kdns.dns.query import Edns, Query
from kdns.dns.ring import Ring
from kdns.dns.types import A

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
NAME = st.lists(LABEL, max_size=6).map(lambda labels: ".".join(labels) + ".")
ODD_NAME = st.lists(st.binary(min_size=1, max_size=9), max_size=5).map(
    lambda labels: names.text(b"".join(bytes((len(x),)) + x for x in labels).lower() + b"\0")
)
EDNS = st.none() | st.builds(Edns, st.integers(0, 65535), st.booleans(), st.just(b""))


def query(name: str = "web.prod.svc.cluster.local.", type: int = A, **more: object) -> Query:
    q = Query(name, type)
    for slot, value in more.items():
        setattr(q, slot, value)
    return q


def octets(made: bytes | Ring) -> bytes:
    """A reply with an id."""
    return b"\0\7" + (made.turn() if isinstance(made, Ring) else made)
