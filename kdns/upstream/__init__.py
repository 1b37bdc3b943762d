"""Upstreams: the DNS servers that questions are forwarded to.

target.py      the words that name upstreams in a Corefile, and files of nameservers
reply.py       what an upstream said, wire to Response (no I/O)
waiting.py     questions that wait for their replies, by id (no I/O)
datagrams.py   questions over UDP, from source ports that change
streams.py     questions over TCP and DNS over TLS, on connections that are kept
health.py      whether an upstream answers at all
upstream.py    one upstream: all of the above
policies.py    which of several is asked first
sources.py     which there are, by files that may change
tallies.py     what is counted
"""

from kdns.errors import KdnsError


class UpstreamError(KdnsError):
    """An upstream gave no usable reply: its text says why, without the upstream's name."""


class NoReply(UpstreamError):
    """Nothing came in time."""


class Closed(UpstreamError):
    """The connection ended before the reply."""
