"""Questions to one upstream over UDP.

An answer made up by someone else must guess the id and the source port (RFC 5452). So a connected socket, whose port the
system draws, asks a few questions within a second and is then replaced. Being connected, it takes packets from the
upstream alone, and hears at once where the upstream's port is closed. What comes with an id that the socket never used was
guessed: after a few such replies its questions are to be asked over TCP, and the next one leaves from another port.

Sockets come and go by the thousand, so they share one selector, itself read by the event loop: with a reader of
asyncio's for each, a question costs a tenth more. The questions of one turn of the loop leave one after another in the next:
upstreams that wake up in between cost more than the sending.
"""

import asyncio
import os
import random
import selectors
import socket
import time

from kdns.errors import Spoofed, UpstreamError
from kdns.upstream.outstanding import Outstanding, Replied
from kdns.upstream.tallies import Reuse

QUESTIONS = 8  # that one socket asks
LIFE = 1.0  # seconds in which it asks them
GUESSES = 3  # replies with ids that were never used, which make a socket suspicious
SOCKETS = 512  # to one upstream; where there are as many, or no more descriptors, they ask more questions each
BATCH = 32  # datagrams of one socket read at a time, so that a flood leaves room for others

_buffer = bytearray(65535)  # of all sockets: what is read is copied out at once
_view = memoryview(_buffer)


class SourcePort:
    """One connected socket."""

    __slots__ = ("ends", "guesses", "ids", "outstanding", "socket")

    def __init__(self, sock: socket.socket, ends: float, exact: bool) -> None:
        self.socket = sock
        self.outstanding = Outstanding(exact)
        self.ids: set[int] = set()  # all that it used: a reply that is late or comes twice is no guess
        self.guesses = 0
        self.ends = ends

    def worn(self, now: float) -> bool:
        return len(self.ids) >= QUESTIONS or now >= self.ends or self.guesses >= GUESSES


class Datagrams:
    """The sockets of one upstream. `source` is the address to ask from, or none; `exact`: see `Outstanding`."""

    def __init__(self, address: tuple[str, int], source: str, reuse: Reuse, exact: bool = False) -> None:
        self._address, self._source, self._reuse, self._exact = address, source, reuse, exact
        self._next: SourcePort | None = None  # which asks the next question, if it is not worn
        self._open: set[SourcePort] = set()
        self._selector: selectors.DefaultSelector | None = None
        self._unsent: list[tuple[SourcePort, bytes, Replied]] = []

    def ask(self, body: bytes, question: bytes, expires: float) -> Replied:
        """Send a message (all but its id) whose question section is given; where the reply comes, or UpstreamError.

        Who does not wait for it any more leaves it to its time.
        """
        port = self._next
        if port is None or port.worn(time.monotonic()):
            port = self._fresh()
        else:
            self._reuse.hits += 1
        id, replied = port.outstanding.add(question, expires)
        port.ids.add(id)
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append((port, id.to_bytes(2, "big") + body, replied))
        return replied

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for port, octets, replied in unsent:
            try:
                port.socket.send(octets)
            except OSError as error:
                port.outstanding.drop(int.from_bytes(octets[:2], "big"), replied)
                if not replied.done():
                    replied.set_exception(UpstreamError(reason(error)))

    def _fresh(self) -> SourcePort:
        """A new socket; UpstreamError where it cannot be had and there is no other."""
        try:
            if len(self._open) >= SOCKETS:
                raise OSError("too many sockets")
            sock = connected(self._address, self._source)
        except OSError as error:
            others = [port for port in self._open if port.guesses < GUESSES]
            if not others:
                raise UpstreamError(reason(error)) from None
            return random.choice(others)
        port = self._next = SourcePort(sock, time.monotonic() + LIFE, self._exact)
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
            asyncio.get_running_loop().add_reader(self._selector.fileno(), self._readable)
        self._selector.register(sock, selectors.EVENT_READ, port)
        self._open.add(port)
        self._reuse.misses += 1
        return port

    def _readable(self) -> None:
        if self._selector is not None:
            for key, _ in self._selector.select(0):
                self._read(key.data)

    def _read(self, port: SourcePort) -> None:
        """Take what came, a batch at most."""
        sock, outstanding = port.socket, port.outstanding
        questions = outstanding.questions
        try:
            for _ in range(BATCH):
                size = sock.recv_into(_buffer)
                wire = bytes(_view[:size])
                if not outstanding.take(wire) and self._is_guess(port, wire):
                    port.guesses += 1
                    if port.guesses == GUESSES:
                        outstanding.fail(Spoofed("someone guesses at its replies"))
                if not questions:
                    break
        except BlockingIOError:
            return
        except OSError as error:
            outstanding.fail(UpstreamError(reason(error)))
        if not questions and (port is not self._next or port.worn(time.monotonic())):
            self._close(port)

    def _is_guess(self, port: SourcePort, wire: bytes) -> bool:
        """Neither a late reply nor one that came twice."""
        id = int.from_bytes(wire[:2], "big")
        return id in port.outstanding or id not in port.ids

    def sweep(self, now: float) -> bool:
        """End the waiting that is over, close sockets that are worn; is any left open?"""
        for port in list(self._open):
            port.outstanding.expire(now)
            if not port.outstanding and (port is not self._next or port.worn(now)):
                self._close(port)
        return bool(self._open)

    def close(self) -> None:
        for port in list(self._open):
            self._close(port)
        if self._selector is not None:
            asyncio.get_running_loop().remove_reader(self._selector.fileno())
            self._selector.close()
            self._selector = None

    def _close(self, port: SourcePort) -> None:
        if self._selector is not None:
            self._selector.unregister(port.socket)
        self._open.remove(port)
        port.socket.close()
        port.outstanding.fail(UpstreamError("the server is ending"))
        if port is self._next:
            self._next = None


def connected(address: tuple[str, int], source: str) -> socket.socket:
    """A UDP socket that speaks with one address only, from a port of the system's choice; OSError where it cannot be had."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if source:
            sock.bind((source, 0))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def reason(error: OSError) -> str:
    """Why a socket failed, in the system's words."""
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror  # asyncio's own has the address
    return (text or str(error) or type(error).__name__).lower()
