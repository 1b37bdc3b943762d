"""The errors that kdns raises on purpose.

Each carries one line for a person: what is wrong, where, and what to do. What is not a KdnsError is a bug, and is caught
in one place for each query (`site`).
"""


class KdnsError(Exception):
    """An error whose text is one line meant for people."""


class FormatError(KdnsError):
    """A query that deserves an answer of its code alone (RFC 1035 4.1.1, RFC 6891 6.1.3).

    `rcode` is that code; `question` the question section where it was understood, `edns` whether an OPT record was.
    """

    def __init__(self, rcode: int, question: bytes = b"", edns: bool = False) -> None:
        super().__init__(f"query refused with code {rcode}")
        self.rcode, self.question, self.edns = rcode, question, edns


class CorefileError(KdnsError):
    """A Corefile that cannot be served: `Corefile:12: kubernetes: unknown option 'podz', did you mean 'pods'?`."""


class ManifestError(KdnsError):
    """A manifest that cannot be served, with file, line and field."""


class SourceError(KdnsError):
    """A source of cluster objects (an API server, a folder of manifests) that cannot be had just now."""


class ListenError(KdnsError):
    """An address that cannot be listened on: in use, not ours, not permitted."""
