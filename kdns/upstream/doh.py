"""How a question is put in HTTP, and what a response has to be, whichever version carries them (RFC 8484 4). No I/O.

Questions have the id 0, so that what is between may keep replies (RFC 8484 4.1); which reply is whose the connection tells.
"""

import base64
from typing import NamedTuple

from kdns.errors import Garbage, UpstreamError
from kdns.upstream.outstanding import answers

PATH = "/dns-query"
TYPE = "application/dns-message"
LARGEST = 65535  # octets of a reply


class Request(NamedTuple):
    """A method, what is asked for, headers, a body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def request(method: str, message: bytes) -> Request:
    """How a message is asked, by POST or GET."""
    if method == "GET":
        text = base64.urlsafe_b64encode(message).rstrip(b"=").decode()
        return Request(method, f"{PATH}?dns={text}", {"accept": TYPE}, b"")
    return Request(method, PATH, {"accept": TYPE, "content-type": TYPE, "content-length": str(len(message))}, message)


def too_long() -> Garbage:
    return Garbage(f"its reply has more than {LARGEST} octets")


def reply(status: int, content_type: str, body: bytes, question: bytes) -> bytes:
    """The reply in a response, where it is one to a question (its section, as sent); UpstreamError."""
    if 300 <= status < 400:
        raise UpstreamError(f"it redirects (HTTP status {status}): name the server that it leads to")
    if status != 200:
        raise UpstreamError(f"it answers with HTTP status {status}")
    if content_type.partition(";")[0].strip().lower() != TYPE:
        raise Garbage(f"its reply is not of the type {TYPE}")
    if not answers(body, question):
        raise Garbage("its reply is to another question")
    return body
