"""What a request of DNS over HTTPS says, and what its reply says besides the message (RFC 8484 4, 5.1). No I/O."""

import base64
import re

from kdns.dns.reply import least_ttl

PATH = "/dns-query"
TYPE = "application/dns-message"
LONGEST = 16384  # octets of a message; a query has no use for more


class Refused(Exception):
    """A request that no message can be taken out of, and the status that says so."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def too_long() -> Refused:
    return Refused(413, f"a message has at most {LONGEST} octets here")


def in_head(method: str, path: str, query: str, content_type: str) -> bytes | None:
    """The message in a request's head; None where it is in the body. Refused.

    `query` is what stands after `?`.
    """
    if path != PATH:
        raise Refused(404, f"DNS is at {PATH}")
    if method == "GET":
        text = next((pair[4:] for pair in query.split("&") if pair.startswith("dns=")), "").rstrip("=")
        if len(text) % 4 == 1 or not re.fullmatch("[A-Za-z0-9_-]+", text):
            raise Refused(400, "GET needs ?dns= and a message in base64url (RFC 8484 4.1)")
        if len(text) > LONGEST * 4 // 3:
            raise too_long()
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if method != "POST":
        raise Refused(405, "GET or POST only")
    if content_type.partition(";")[0].strip().lower() != TYPE:
        raise Refused(415, f"the body must be {TYPE}")
    return None


class Request:
    """A request that is not whole yet, of the headers of HTTP/2."""

    __slots__ = ("body", "content_type", "method", "octets", "path", "query")

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        self.method = headers.get(b":method", b"").decode("latin-1")
        self.path, _, self.query = headers.get(b":path", b"").decode("latin-1").partition("?")
        self.content_type = headers.get(b"content-type", b"").decode("latin-1")
        self.body = bytearray()
        self.octets = 0  # of the connection's window

    def message(self) -> bytes:
        """The message in it, once it is whole; Refused."""
        wire = in_head(self.method, self.path, self.query, self.content_type)
        return bytes(self.body) if wire is None else wire


def headers(reply: bytes) -> dict[str, str]:
    """What is said of a reply: it may be kept for as long as its records (RFC 8484 5.1)."""
    return {"content-type": TYPE, "cache-control": f"max-age={least_ttl(reply)}"}


def refusal(error: Refused) -> dict[str, str]:
    """What is said of a request that is refused."""
    allow = {"allow": "GET, POST"} if error.status == 405 else {}
    return {"content-type": "text/plain; charset=utf-8", **allow}
