"""Names that nobody meant: a resolver tries each name with the suffixes of its search list, as far as `ndots` says.

A Pod's search list is NAMESPACE.svc.ZONE, svc.ZONE, ZONE, and its ndots 5: so api.example.com is first asked for as
api.example.com.prod.svc.cluster.local. What is such a try, and what a misspelt name of the cluster, can be guessed alone.
"""

ELSEWHERE = frozenset(  # labels that end names of the world outside, or of this zone: hardly a Service or a namespace
    ("com", "net", "org", "io", "local", "internal", "svc", "arpa", "edu", "gov", "de", "uk", "fr", "eu", "cn", "jp", "lan")
)  # fmt: skip


def tried(below: list[str], known: bool) -> int:
    """How many of the labels below svc.ZONE were asked for, where a search list put the rest behind them; 0 where none did.

    `below` are two labels at least, leftmost first; `known`: is the last of them a namespace?
    """
    foreign = below[-2] in ELSEWHERE and len(below) > 2 if known else below[-1] in ELSEWHERE
    if foreign or (len(below) > 3 and below[-3][0] != "_"):
        return len(below) - known
    return 0


def tried_outside(below: list[str]) -> int:
    """The same of labels below ZONE that are neither below svc nor below pod."""
    return len(below) if below[-1] in ELSEWHERE else 0
