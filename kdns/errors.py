"""The errors that kdns raises on purpose.

Each carries one line for a person: what is wrong, where, and what to do. What is not a KdnsError is a bug, and is caught
in one place for each query (`core`).

    KdnsError
        FormatError      a query that deserves only a code
        CorefileError    a Corefile that cannot be served
        ZoneFileError    a zone file that cannot be served
        ManifestError    a manifest that cannot be served
            Unreadable   one that cannot be read just now
        SourceError      a source of cluster objects that cannot be had
            Refused      an API server that says no
        FileError        a file that cannot be read
        ListenError      an address that cannot be listened on
        UpstreamError    no usable reply
            NoReply, Closed, Garbage, Spoofed
"""

import re

_LONGEST = 1000  # characters of what somebody else says
_SECRETS = (  # what a plugin for credentials, or a server that was shown one, may repeat
    (re.compile(r"://[^\s/@]+@"), "://***@"),
    (re.compile(r"\b(bearer|basic) +[^\s\"',;]+", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"((?:token|password|passwd|secret|api[-_]?key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"(?<![\w+=/-])(?=[\w+=-]*[A-Z])(?=[\w+=-]*[a-z])(?=[\w+=-]*[0-9])[\w+=-]{24,}(?:\.[\w+=-]+)*"), "***"),
)


def one_line(text: str) -> str:
    """Text from anywhere as one line for a log or a terminal: what is not printable is escaped, as `\\n` or `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def masked(text: str) -> str:
    """The text with `***` for what looks like a password, a token or a key."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


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


class NoSuchPlugin(CorefileError):
    """A plugin that is neither here nor from elsewhere."""


class ZoneFileError(KdnsError):
    """A zone file that cannot be served: `db.example:12: '10.0.0' is not an IP address`."""


class ManifestError(KdnsError):
    """A manifest that cannot be served, with file, line and field."""


class Unreadable(ManifestError):
    """A manifest that the system will not let us read just now, whatever is in it."""


class SourceError(KdnsError):
    """A source of cluster objects (an API server, a folder of manifests) that cannot be had just now.

    Its text repeats what others said: in one line, secrets masked, and still only for the log and for readiness. What a
    DNS client may know is `brief`.
    """

    def __init__(self, why: str) -> None:
        super().__init__(masked(one_line(why[:_LONGEST])))
        self.brief = "the API server is out of reach"


class FileError(KdnsError):
    """A file that cannot be read: not there (`missing`), no regular file, too large, no text; `why` without its path."""

    def __init__(self, path: str, why: str, missing: bool = False) -> None:
        super().__init__(f"cannot read {path}: {why}")
        self.path, self.why, self.missing = path, why, missing


class ListenError(KdnsError):
    """An address that cannot be listened on: in use, not ours, not permitted."""


class Refused(SourceError):
    """A request that the API server answered, but not with what was asked for.

    `code` is HTTP's, 0 where there is no credential to ask with; `retry_after` is in seconds.
    """

    def __init__(self, code: int, why: str, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.code, self.retry_after = code, retry_after
        if code == 200:
            self.brief = "the API server does not answer what was asked"
        else:
            self.brief = f"the API server refuses: {code}" if code else "there is no credential for the API server"


class UpstreamError(KdnsError):
    """An upstream gave no usable reply: its text says why, without the upstream's name."""


class NoReply(UpstreamError):
    """Nothing came in time."""


class Closed(UpstreamError):
    """The connection ended before the reply."""


class Garbage(UpstreamError):
    """A reply that is no DNS message."""


class Spoofed(UpstreamError):
    """What came over UDP looks as if someone guessed at replies (RFC 5452): the question is to be asked over TCP."""
