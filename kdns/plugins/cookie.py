"""*cookie* - shows clients that a reply is from here, and finds out whether a query is from whom it says.

Description
    DNS cookies (RFC 7873, made as RFC 9018 says): a client puts eight octets of its own into each query over UDP, and
    gets them back with some of the server's, which it repeats from then on. Whoever cannot see its traffic can neither make up
    a reply for it nor send a query in its name.

    Replies to clients that send no cookie are as they would be without. With `require` they are told by TC to come by TCP, and
    those with a cookie that is not of here get BADCOOKIE and one that is: then nothing can be amplified. Many clients of
    clusters know no cookies, so that is for servers in the open.

    The server's part holds for an hour and is renewed after half of it. Servers behind one address need the same secret.

    Queries with a cookie are not answered from the memo, all others are. Cookies do not go to upstreams, nor do they keep an
    answer out of *cache*. Only once in a server block. It is kdns's own, CoreDNS has none of this name.

Syntax
    cookie {
        secret HEX
        require
    }

    - secret is 16 octets in hexadecimal; by default random ones, kept for as long as the process lives.

Metrics
    - `kdns_cookie_queries_total{server, cookie}`: queries over UDP by what they brought: `none`, `new` (the client's part alone),
      `good`, `bad`.

Examples
    Cookies for those who know them:

        example.org {
            cookie
            whoami
        }

    The same for two servers, and only for those who have proved who they are:

        example.org {
            cookie {
                secret 000102030405060708090a0b0c0d0e0f
                require
            }
            whoami
        }
"""

import hmac
import math
import os
import re
import time
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import flag, option
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query, Transport, without
from kdns.dns.response import Answer, Made, replace, Response
from kdns.dns.types import COOKIE, FORMERR, TC

CODES = frozenset((COOKIE,))
BADCOOKIE = 23
OURS, LONGEST = 8, 40  # octets of the client's part, and of both at most
HOLDS, AHEAD, RENEWED = 3600, 300, 1800  # seconds; AHEAD: another server's clock (RFC 9018 4.3)
MASK = (1 << 64) - 1
BY_TCP = Response(flags=TC, authoritative=False, stable_for=math.inf, made=Made("cookie"))  # to all who send none


def siphash(key: bytes, message: bytes) -> bytes:
    """SipHash-2-4 of Aumasson and Bernstein, 64 bits, as octets in their order."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    state = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    padded = message + bytes(7 - len(message) % 8) + bytes((len(message) & 255,))
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        a, b, c, d = _rounds(2, state[0], state[1], state[2], state[3] ^ word)
        state = a ^ word, b, c, d
    a, b, c, d = _rounds(4, state[0], state[1], state[2] ^ 0xFF, state[3])
    return (a ^ b ^ c ^ d).to_bytes(8, "little")


def _rounds(count: int, a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        a = a + b & MASK
        c = c + d & MASK
        b = (b << 13 & MASK | b >> 51) ^ a
        d = (d << 16 & MASK | d >> 48) ^ c
        a = a << 32 & MASK | a >> 32
        c = c + b & MASK
        a = a + d & MASK
        b = (b << 17 & MASK | b >> 47) ^ c
        d = (d << 21 & MASK | d >> 43) ^ a
        c = c << 32 & MASK | c >> 32
    return a, b, c, d


def made(client: bytes, host: str, at: int, secret: bytes) -> bytes:
    """The server's part for a client's part and address, at a time in seconds since 1970 (RFC 9018 4)."""
    head = b"\1\0\0\0" + (at & 0xFFFFFFFF).to_bytes(4, "big")
    return head + _proof(secret, client + head, host)


def _proof(secret: bytes, before: bytes, host: str) -> bytes:
    """The last octets of a cookie, which nobody can make without the secret, for those before them and an address."""
    return siphash(secret, before + names.packed(host.partition("%")[0]))


def _secret(o: Directive) -> bytes:
    text = o.one()
    if not re.fullmatch("[0-9a-fA-F]{32}", text):
        raise ValueError("this is not 16 octets in hexadecimal")  # a secret is not to be shown
    return bytes.fromhex(text)


@dataclass(frozen=True)
class Options:
    secret: bytes = option(_secret, b"")
    require: bool = option(flag, False)


class Cookie(Plugin):
    """A query without a cookie is answered alike for everyone; of one with a cookie the memo is told nothing."""

    table = Options
    once = True
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self._secret = options.secret or block.keep("cookie", lambda: os.urandom(16))
        self._require = options.require
        self._counter = block.counter(
            "kdns_cookie_queries_total", "Queries over UDP by the cookie that they brought.", ("server", "cookie")
        )
        block.heed_options(CODES)

    async def answer(self, query: Query, next: Handler) -> Answer:
        option, udp = query.options(CODES), query.transport is Transport.UDP
        if not option:
            return await self._without(query, next)
        cookie = option[4 : 4 + int.from_bytes(option[2:4], "big")]
        if len(cookie) != OURS and not 2 * OURS <= len(cookie) <= LONGEST:
            return Response(rcode=FORMERR, authoritative=False, made=Made("cookie"))
        host, now = query.client.host, int(time.time())
        age = self._age(cookie, host, now)
        if udp:
            self._counter.labels("good" if age is not None else "bad" if len(cookie) > OURS else "new").inc()
        ours = cookie[OURS:] if age is not None and age < RENEWED else made(cookie[:OURS], host, now, self._secret)
        said = b"\0\x0a" + (OURS + len(ours)).to_bytes(2, "big") + cookie[:OURS] + ours
        if self._require and udp and age is None:
            return Response(rcode=BADCOOKIE, authoritative=False, options=said, made=Made("cookie"))
        edns = query.edns
        assert edns is not None  # where the option was
        query.edns = edns._replace(options=without(edns.options, CODES))  # it is between the client and us alone
        other = await next(query)
        if not isinstance(other, Response):
            return other
        return replace(other, options=without(other.options, CODES) + said, stable_for=0.0)

    async def _without(self, query: Query, next: Handler) -> Answer:
        if query.transport is not Transport.UDP:
            return await next(query)
        self._counter.labels("none").inc()
        if self._require:
            return replace(BY_TCP, made=Made("cookie", replayed=self._counter.labels("none").inc))
        other = await next(query)
        if not isinstance(other, Response) or not other.stable_for:
            return other
        return replace(other, made=other.made.counted(self._counter.labels("none").inc))

    def _age(self, cookie: bytes, host: str, now: int) -> int | None:
        """How many seconds ago the server's part was made; None where it is not of here, or does not hold any more."""
        if len(cookie) != 3 * OURS or cookie[8:9] != b"\1":
            return None
        at = int.from_bytes(cookie[12:16], "big")
        age = (now - at + (1 << 31)) % (1 << 32) - (1 << 31)  # serial arithmetic (RFC 1982)
        if not -AHEAD <= age <= HOLDS:
            return None
        return age if hmac.compare_digest(_proof(self._secret, cookie[:16], host), cookie[16:]) else None
