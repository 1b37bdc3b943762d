"""UDP: datagrams in batches on the asyncio loop.

A batch is read, looked up in the memo, and answered with one system call each way; what the memo does not have is started
at once, and joins the batch if it need not wait. `Batched` does so by recvmmsg and sendmmsg; where these are not to be had,
`Udp` reads and sends one by one (see datagrams).
"""

import socket
import time
from collections import deque
from itertools import islice

from kdns.core.entries import Entry, tell
from kdns.core.listener import Listener
from kdns.core.served import Served
from kdns.dns.query import Address
from kdns.server.backlog import Backlog, is_near, Share, whose
from kdns.server.datagrams import BY_UDP, Route, Udp
from kdns.server.in_flight import InFlight
from kdns.server.sockets import Control

try:
    from kdns.server import mmsg
except ImportError:  # not Linux, or no cffi: Udp serves
    BY_BATCHES = False
else:
    BY_BATCHES = True

READ_ON = 32  # batches that are read at once where there is much

Miss = tuple[bytes, bytes, Address | bytes, Route]  # a datagram, who asks, what was asked, and the way back
_NO_CONTROLS: list[Control] = []


class Batched(Udp):
    """A socket that is served by batches (Linux)."""

    def __init__(self, sock: socket.socket, listener: Listener, in_flight: InFlight) -> None:
        super().__init__(sock, listener, in_flight)
        self._batch = mmsg.Batch(sock, self._all)
        self._backlog: Backlog[Miss] = Backlog(sock, in_flight, self._begin)
        self._share = Share(sock, READ_ON * mmsg.MESSAGES)

    def given_up(self) -> dict[str, int]:
        return {"send_buffer": self._lost + self._batch.failed, "turn": self._backlog.dropped + self._share.passed_over}

    def _is_busy(self) -> bool:
        return super()._is_busy() or len(self._backlog) > 0

    def _readable(self) -> None:
        """Take a batch; where much waits in the kernel, more of them before anything else is done."""
        batch, backlog, share = self._batch, self._backlog, self._share
        for _ in range(READ_ON):
            lengths = batch.receive()
            full = len(lengths) == mmsg.MESSAGES
            if full and not backlog.open:
                backlog.look()
            if share.now < share.most:
                share.skim(lengths, batch.clients(len(lengths)))
            if lengths:
                self._take(lengths)
            if not (full and backlog.open):
                if share.now < share.most:
                    share.read_all()
                return
        share.left_some()

    def _take(self, lengths: list[int]) -> None:
        """Answer a batch from the memo, and start what that does not have."""
        batch = self._batch
        began = time.monotonic()
        listener = self.listener
        find, replay, audience = listener.memo.find, listener.replay_plain, listener.audience
        told: list[tuple[Entry | None, int]] = []  # hits that somebody hears of, and their slots
        if tells := listener.tells:
            find, replay = _unknown, listener.replay
        heads = batch.heads[0 : len(lengths) * mmsg.HEAD]
        parts: list[bytes] = []
        add = parts.append
        iov = batch.out_parts
        start = batch.out_start
        if min(lengths) < 2:  # compiled, a slice that ends before its start is an error
            lengths = [max(length, 2) for length in lengths]
        at = slot = misses = 0
        silent: list[int] = []
        for length in lengths:
            key = heads[at + 2 : at + length]
            if audience is not None:
                key = audience(batch.client(slot >> 1)) + key
            entry = find(key)
            if entry is not None and (reply := entry.reply) is not None:
                entry.hits += 1
                if not reply:
                    reply = entry.ring.turn()  # type: ignore[union-attr]
                add(heads[at : at + 2])
                add(reply)
                size = len(reply) + 2
            elif length < 3:  # beyond its client's share, or no message
                misses += 1
                silent.append(slot >> 1)
                size = 0
            else:
                client = b"" if audience is None else batch.client(slot >> 1)
                reply = replay(heads[at + 2 : at + length], client, BY_UDP)
                if reply is not None:
                    add(heads[at : at + 2])
                    add(reply)
                    size = len(reply) + 2
                    if tells:
                        told.append((listener.given, slot >> 1))
                else:
                    misses += 1
                    missed = self._miss(slot >> 1, length)
                    if missed is None:
                        silent.append(slot >> 1)
                        missed = b""
                    add(missed)
                    size = len(missed)
            iov[slot] = start
            iov[slot + 1] = size
            start += size
            slot += 2
            at += mmsg.HEAD
        octets = b"".join(parts)
        if fits := len(octets) <= mmsg.OUT:
            batch.out[0 : len(octets)] = octets
            self._send_batch(len(lengths), silent)
        else:  # clients that take large datagrams asked for much
            self._send_one_by_one(octets, len(lengths), silent)
        if hits := len(lengths) - misses:
            counts = listener.counts
            counts.hits += hits
            counts.hit_seconds += (time.monotonic() - began) * hits / len(lengths)
        if told:
            self._tell(told, lengths, time.monotonic() - began)
        if began > listener.look_at:
            i = int(began * 1e6) % len(lengths)  # one by chance: the microseconds are even enough
            listener.look(batch.datagram(i, lengths[i]), batch.client(i), batch.reply(i) if fits else None)

    def _tell(self, told: list[tuple[Entry | None, int]], lengths: list[int], seconds: float) -> None:
        """These slots were answered from the memo, in so many seconds."""
        batch = self._batch
        sizes = batch.out_parts[1::2]
        for entry, i in told:
            local = self._asked_sockaddr(batch.asked(i)) if self._all else self._local
            tell(entry, Served(batch.datagram(i, lengths[i]), batch.client(i), local, BY_UDP, sizes[i], seconds))

    def _miss(self, i: int, length: int) -> bytes | None:
        """The reply to a datagram that the memo has none to, or None: there is none, or not yet."""
        batch = self._batch
        wire, client = batch.datagram(i, length), batch.client(i)
        if client[2:4] == b"\0\0":  # port 0: nobody can have an answer there
            return None
        asked = [batch.asked(i)] if self._all else _NO_CONTROLS
        local = self._asked_sockaddr(asked[0]) if asked else self._local
        if self._backlog.open:
            miss = wire, client, local, (client, asked)
            self._backlog.add(miss, whose(client), is_near(wire, self.listener.near))
            return None
        return self._started(wire, client, local, (client, asked))

    def _begin(self, miss: Miss) -> None:
        """A miss of the backlog has its turn."""
        wire, client, local, route = miss
        reply = self._started(wire, client, local, route)
        if reply is not None:
            self._send(reply, route)

    def _send_batch(self, count: int, silent: list[int]) -> None:
        """Send the replies of slots 0 to count, around those that have none."""
        batch = self._batch
        at = 0
        for end in (*silent, count):
            stuck = batch.send(at, end) if at < end else end
            for i in range(stuck, end):
                controls = [batch.asked(i)] if self._all else []
                self._send(batch.reply(i), (batch.client(i), controls))
            at = end + 1

    def _send_one_by_one(self, octets: bytes, count: int, silent: list[int]) -> None:
        """Send the replies of a batch that does not fit its room."""
        batch = self._batch
        for i in range(count):
            start, size = batch.out_parts[2 * i] - batch.out_start, batch.out_parts[2 * i + 1]
            if i not in silent:
                controls = [batch.asked(i)] if self._all else []
                self._send(octets[start : start + size], (batch.client(i), controls))

    def _send_unsent(self) -> None:
        """All slots are free: what was received has been started."""
        unsent, batch = self._unsent, self._batch
        while unsent:
            count = _fitting(unsent)
            batch.lay(islice(unsent, count))
            sent = batch.send(0, count)
            for _ in range(sent):
                self._unsent_octets -= len(unsent.popleft()[0])
            if sent < count:
                return


def _unknown(key: bytes) -> None:
    """The look-up in no memo."""


def _fitting(unsent: "deque[tuple[bytes, Route]]") -> int:
    """How many of the replies that wait fit one batch: one at least."""
    count = room = 0
    for reply, _ in islice(unsent, mmsg.MESSAGES):
        room += len(reply)
        if room > mmsg.OUT:
            break
        count += 1
    return count


def serve(sock: socket.socket, listener: Listener, in_flight: InFlight) -> Udp:
    """The best way to serve a socket on this machine; `start` begins."""
    return (Batched if BY_BATCHES else Udp)(sock, listener, in_flight)


def trim() -> None:
    """Give free memory back to the system, where that is known how."""
    if BY_BATCHES:
        mmsg.trim()
