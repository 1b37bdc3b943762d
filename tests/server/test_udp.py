"""UDP, by batches and one by one: the same of both."""

import asyncio
import math
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import dns.flags
import dns.message
import pytest

from kdns.core.listener import Counts, Listener
from kdns.dns.query import Address, Transport
from kdns.server import mmsg, udp
from kdns.server.in_flight import InFlight
from kdns.server.sockets import listen
from tests.support.stage import addresses, Answer, ask, client, fails, Hearing, known, listener, question, slow, who

Kind = type[udp.Udp]
both = pytest.mark.parametrize("kind", [udp.Udp, udp.Batched])


def serve(
    kind: Kind, answer: Answer, body: Callable[[udp.Udp, int], Awaitable[Any]], address: str = "127.0.0.1", limit: int = 100
) -> Any:
    """What body says of a socket that is served; afterwards nothing may be left."""

    async def run() -> Any:
        in_flight = InFlight(limit)
        sock = listen(address, 0, socket.SOCK_DGRAM)
        port = sock.getsockname()[1]
        served = kind(sock, listener(answer), in_flight)
        await served.start()
        try:
            return await body(served, port)
        finally:
            await served.close(1)
            assert 0 == len(in_flight)

    return asyncio.run(run())


@both
def test_misses_and_hits(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock:
            replies = [await ask(sock, question("n9.test.", id=id), ("127.0.0.1", port)) for id in (1, 2, 3)]
        assert served.listener.counts.hit_seconds > 0
        return [(addresses(reply), reply[:2]) for reply, _ in replies], served.listener.counts.hits

    assert ([(["10.0.0.9"], b"\0\1"), (["10.0.0.9"], b"\0\2"), (["10.0.0.9"], b"\0\3")], 2) == serve(kind, known, body)


@both
def test_messages_that_are_cut_short_take_no_other_along(kind: Kind) -> None:
    """All that come before it in one batch."""
    whole = question("n9.test.")

    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock:
            for length in range(len(whole)):
                sock.sendto(whole[:length], ("127.0.0.1", port))
                sock.sendto(whole[:10] + b"\0\1" + whole[12:length], ("127.0.0.1", port))
            reply = await ask(sock, question("n9.test.", id=2), ("127.0.0.1", port))
            while reply[0][:2] != b"\0\2":
                reply = await asyncio.get_running_loop().sock_recvfrom(sock, 4096)
        return addresses(reply[0])

    assert ["10.0.0.9"] == serve(kind, known, body)


@both
def test_what_changes_nothing_is_a_hit(kind: Kind) -> None:
    """Each has its own id and spelling."""

    async def body(served: udp.Udp, port: int) -> Any:
        replies = []
        with client() as sock:
            for id, name in enumerate(("N9.test.", "n9.TEST.", "n9.tEsT.")):
                replies.append((await ask(sock, question(name, id=id), ("127.0.0.1", port)))[0])
        asked = [(reply[1], str(dns.message.from_wire(reply).question[0].name)) for reply in replies]
        return asked, {tuple(addresses(reply)) for reply in replies}, served.listener.counts.hits

    assert ([(0, "N9.test."), (1, "n9.TEST."), (2, "n9.tEsT.")], {("10.0.0.9",)}, 2) == serve(kind, known, body)


@both
def test_a_burst_of_all_kinds(kind: Kind) -> None:
    """Hits, misses, what waits, what deserves silence, one after another: each has its own reply or none."""
    silent = [b"", b"\0", bytes(11), b"\0\7\x80" + bytes(9)]
    names = [f"n{i}.{'20' if i % 3 == 0 else 'test'}.x." for i in range(150)]

    async def answer(query: Any) -> Any:
        return await (slow if ".20." in query.name else known)(query)

    async def body(served: udp.Udp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with client() as sock:
            await ask(sock, question(names[1]), ("127.0.0.1", port))
            for i, name in enumerate(names):
                sock.sendto(question(name, id=i), ("127.0.0.1", port))
                sock.sendto(silent[i % 4], ("127.0.0.1", port))
            replies = [await asyncio.wait_for(loop.sock_recv(sock, 4096), 20) for _ in names]
        return sorted((int.from_bytes(reply[:2], "big"), *addresses(reply)) for reply in replies)

    assert [(i, f"10.0.0.{i}") for i in range(150)] == serve(kind, answer, body)


@both
def test_rotation_is_replayed(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        from kdns.dns.response import Response, RRset

        async def rotates(query: Any) -> Response:
            rdata = tuple(bytes((10, 0, 0, i)) for i in (1, 2, 3))
            return Response(answer=(RRset(query.name, 1, 5, rdata),), stable_for=9e9, depends=("x",), rotate=True)

        served.listener = listener(rotates)
        with client() as sock:
            replies = [await ask(sock, question("a.test."), ("127.0.0.1", port)) for _ in range(4)]
        return {addresses(reply)[0] for reply, _ in replies}, served.listener.counts.hits

    assert ({"10.0.0.1", "10.0.0.2", "10.0.0.3"}, 3) == serve(kind, known, body)


@both
def test_what_was_forgotten_is_asked_anew(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock:
            for _ in range(2):
                await ask(sock, question("n9.test."), ("127.0.0.1", port))
            served.listener.memo.forget(["n9.test."])
            reply, _ = await ask(sock, question("n9.test."), ("127.0.0.1", port))
        return addresses(reply), served.listener.counts.hits

    assert (["10.0.0.9"], 1) == serve(kind, known, body)


@both
def test_what_moved_into_the_old_generation_is_a_hit(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        small = Listener("dns://small", Counts(), 4000)
        small.blocks, served.listener = served.listener.blocks, small
        for [block] in small.blocks.values():
            block.counters.append(lambda fact, count, seconds: counted.append(count))
        counted: list[int] = []
        with client() as sock:
            for name in ("n1", "n2", "n3", "n4", "n5", "n1"):
                await ask(sock, question(f"{name}.test."), ("127.0.0.1", port))
        small.answered.tell()
        small.memo.fold()
        return sum(counted), small.counts.hits, small.counts.misses

    assert (6, 1, 5) == serve(kind, known, body)


@both
@pytest.mark.parametrize("size", [300, 512, 513, 1500, 4096])
def test_long_datagrams(kind: Kind, size: int) -> None:
    wire = question("n9.test.")
    padding = size - len(wire) - 15
    option = struct.pack("!HHIHHH", 41, 1232, 0, padding + 4, 12, padding) + bytes(padding)
    wire = wire[:10] + b"\0\1" + wire[12:] + b"\0" + option
    assert size == len(wire)

    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock:
            return addresses((await ask(sock, wire, ("127.0.0.1", port)))[0])

    assert ["10.0.0.9"] == serve(kind, known, body)


@both
def test_too_long_datagrams_end_nothing(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock:
            for size in (4097, 9000, 60000):
                sock.sendto(question("n9.test.", id=1).ljust(size, b"\xff"), ("127.0.0.1", port))
            sock.sendto(question("n8.test.", id=8), ("127.0.0.1", port))
            while True:
                reply, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(sock, 4096), 20)
                if reply[:2] == b"\0\x08":
                    return addresses(reply)

    assert ["10.0.0.8"] == serve(kind, known, body)


@both
def test_a_failing_plugin_is_servfail(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock:
            return dns.message.from_wire((await ask(sock, question("a.test."), ("127.0.0.1", port)))[0]).rcode()

    assert serve(kind, fails, body) == 2


@both
@pytest.mark.parametrize(
    ("bound", "asked"),
    [("", "127.0.0.2"), ("", "127.0.0.1"), ("", "::1"), ("0.0.0.0", "127.0.0.3"), ("::", "::1"), ("127.0.0.2", "127.0.0.2")],
)
@pytest.mark.parametrize("answer", [who, slow], ids=["at once", "later"])
def test_answers_from_the_address_that_was_asked(kind: Kind, bound: str, asked: str, answer: Answer) -> None:
    v6 = ":" in asked

    async def body(served: udp.Udp, port: int) -> Any:
        with client(socket.AF_INET6 if v6 else socket.AF_INET, "::1" if v6 else "127.0.0.1") as sock:
            here = sock.getsockname()
            reply, source = await ask(sock, question("n1.10.test.", 16), (asked, port))
            if answer is who:
                assert [f'"{here[0]} {here[1]}"', f'"{asked} {port}"'] == addresses(reply)
            return source[:2] == (asked, port)

    assert serve(kind, answer, body, bound)


@both
def test_a_hit_and_a_miss_from_the_address_that_was_asked(kind: Kind) -> None:
    """The messages of one batch were asked of different addresses."""
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"] * 20

    async def body(served: udp.Udp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with client() as sock:
            await ask(sock, question("n1.test."), ("127.0.0.1", port))
            for id, host in enumerate(hosts):
                sock.sendto(question(f"n{1 + id % 5}.test.", id=id), (host, port))
            got = [await asyncio.wait_for(loop.sock_recvfrom(sock, 4096), 20) for _ in hosts]
        return [source[0] for _, source in sorted((reply[:2], source) for reply, source in got)]

    assert hosts == serve(kind, known, body, "")


@both
def test_late_replies_leave_in_order_from_the_addresses_that_were_asked(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one batch of them, though their questions came one by one."""
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"] * 30
    sent: list[int] = []
    send = mmsg.Batch.send

    def count(self: Any, first: int, end: int) -> int:
        sent.append(end - first)
        return send(self, first, end)

    monkeypatch.setattr(mmsg.Batch, "send", count)

    async def body(served: udp.Udp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with client() as sock:
            for id, host in enumerate(hosts):
                sock.sendto(question("n1.test.", id=id), (host, port))
                await began.get()
            gate.set()
            got = [await asyncio.wait_for(loop.sock_recvfrom(sock, 4096), 20) for _ in hosts]
        return [(reply[1], source[0]) for reply, source in got]

    gate, began = asyncio.Event(), asyncio.Queue[None]()

    async def gated(query: Any) -> Any:
        began.put_nowait(None)
        await gate.wait()
        return await known(query)

    assert list(enumerate(hosts)) == serve(kind, gated, body, "")
    assert sent == ([64, 26] if kind is udp.Batched else [])


@both
def test_port_0_is_dropped(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind is udp.Batched:
        monkeypatch.setattr(mmsg.Batch, "client", lambda self, i: struct.pack("=H", 20) + bytes(14))
    else:
        monkeypatch.setattr(socket.socket, "recvmsg", _recvmsg_from_port_0)

    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock, pytest.raises(TimeoutError):
            await ask(sock, question("a.test."), ("127.0.0.1", port), 0.05)
        return len(served.listener.memo)

    assert serve(kind, known, body) == 0


def _recvmsg_from_port_0(self: socket.socket, *args: Any) -> Any:
    wire, (host, _) = self.recvfrom(4096)
    return wire, [], 0, (host, 0)


@both
def test_no_room_in_the_send_buffer(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel does not take just now is sent when it does; what it never takes holds up nothing."""
    refusals = iter([True, True, True])
    send, sendmsg = mmsg.Batch.send, socket.socket.sendmsg

    def full_at_third(self: Any, first: int, end: int) -> int:
        return send(self, first, min(first + 3, end))

    def full(self: socket.socket, *args: Any) -> int:
        if next(refusals, False):
            raise BlockingIOError
        return sendmsg(self, *args)

    monkeypatch.setattr(mmsg.Batch, "send", full_at_third)
    monkeypatch.setattr(socket.socket, "sendmsg", full)

    async def body(served: udp.Udp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with client() as sock:
            for i in range(20):
                sock.sendto(question(f"n{i}.test.", id=i), ("127.0.0.1", port))
            replies = [await asyncio.wait_for(loop.sock_recv(sock, 4096), 20) for _ in range(20)]
        return sorted(reply[1] for reply in replies)

    assert list(range(20)) == serve(kind, known, body)


def test_one_refused_reply_does_not_hold_up_the_rest() -> None:
    """A reply to port 0 is EINVAL; those before and after it leave."""

    async def body(served: udp.Udp, port: int) -> Any:
        batch = served._batch  # type: ignore[attr-defined]
        send = mmsg.Batch.send

        def spoil(first: int, end: int) -> int:
            names = memoryview(batch._names)
            names[2 * 28 + 2 : 2 * 28 + 4] = b"\0\0"
            return send(batch, first, end)

        batch.send = spoil
        loop = asyncio.get_running_loop()
        with client() as sock:
            for i in range(6):
                sock.sendto(question(f"n{i}.test.", id=i), ("127.0.0.1", port))
            replies = [await asyncio.wait_for(loop.sock_recv(sock, 4096), 20) for _ in range(5)]
        return sorted(reply[1] for reply in replies), served.given_up()["send_buffer"]

    assert ([0, 1, 3, 4, 5], 1) == serve(udp.Batched, known, body)


@both
def test_beyond_the_limit_the_newest_is_dropped(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with client() as sock:
            for i in range(8):
                sock.sendto(question(f"n{i}.50.test.", id=i), ("127.0.0.1", port))
            replies = [await asyncio.wait_for(loop.sock_recv(sock, 4096), 20) for _ in range(5)]
        return sorted(reply[1] for reply in replies), sum(served._in_flight.dropped.values())

    assert ([0, 1, 2, 3, 4], 3) == serve(kind, slow, body, limit=5)


@both
def test_somebody_may_look_at_a_query(kind: Kind) -> None:
    """Hit or miss, with its client and its reply, once it is counted; not before it is time, and later only what is asked then."""

    async def body(served: udp.Udp, port: int) -> Any:
        seen: list[Any] = []
        counts = served.listener.counts

        def look(wire: bytes, client: Any, reply: bytes | None) -> None:
            host = client if isinstance(client, Address) else Address.of_sockaddr(client)
            seen.append((wire[:2], host.port, addresses(reply or b""), counts.hits + counts.misses))

        served.listener.look = look
        with client() as sock:
            for id in range(4):
                served.listener.look_at = 0.0 if 0 < id < 3 else math.inf
                await ask(sock, question(f"n{min(id, 1)}.test.", id=id), ("127.0.0.1", port))
            return [(id, at == sock.getsockname()[1], found, total) for id, at, found, total in seen]

    assert [(b"\0\1", True, ["10.0.0.1"], 2), (b"\0\2", True, ["10.0.0.1"], 3)] == serve(kind, known, body)


@both
@pytest.mark.parametrize("bound", ["127.0.0.1", ""])
def test_who_hears_of_each_query_hears_of_hits(kind: Kind, bound: str) -> None:
    """Of hits and misses of one batch: each has its own octets, client, address asked and size of the reply."""
    hosts = ["127.0.0.1"] * 80 if bound else ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"] * 20
    hearing = Hearing()

    async def body(served: udp.Udp, port: int) -> Any:
        served.listener = listener(known, hearing)
        loop = asyncio.get_running_loop()
        with client() as sock:
            await ask(sock, question("n1.test."), ("127.0.0.1", port))
            del hearing.heard[:]
            wires = [question(f"{'a' * (id % 2)}n{1 + id % 5}.test.", id=id) for id in range(len(hosts))]
            for wire, host in zip(wires, hosts, strict=True):
                sock.sendto(wire, (host, port))
            got = sorted([await asyncio.wait_for(loop.sock_recv(sock, 4096), 20) for _ in hosts])
            me = sock.getsockname()[1]
        assert served.listener.counts.hits > 60
        heard = sorted(hearing.heard, key=lambda it: it.wire)
        ends = [[end if isinstance(end, Address) else Address.of_sockaddr(end) for end in (it.client, it.local)] for it in heard]
        assert wires == [it.wire for it in heard]
        assert [[Address("127.0.0.1", me), Address(host, port)] for host in hosts] == ends
        assert list(map(len, got)) == [it.size for it in heard]
        return {(it.transport, 0 <= it.seconds < 60) for it in heard}

    assert {(Transport.UDP, True)} == serve(kind, known, body, bound)


@both
def test_the_listener_may_be_exchanged(kind: Kind) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        with client() as sock:
            before, _ = await ask(sock, question("n9.test.", 16), ("127.0.0.1", port))
            served.listener = listener(who)
            after, _ = await ask(sock, question("n9.test.", 16), ("127.0.0.1", port))
            return [addresses(before) == addresses(after), f"127.0.0.1 {port}" in str(addresses(after))]

    assert [False, True] == serve(kind, known, body)


@pytest.mark.plain
@both
@pytest.mark.parametrize("bound", ["127.0.0.1", ""])
def test_given_up_it_answers_what_is_queued_and_what_waits(kind: Kind, bound: str) -> None:
    async def body(served: udp.Udp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        successor = kind(listen(bound, port, socket.SOCK_DGRAM), listener(known), InFlight())
        with client() as sock:
            others = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
            for other in others:  # from many ports: both sockets get some
                other.setblocking(False)
                other.sendto(question("n1.30.test."), ("127.0.0.1", port))
            closing = asyncio.ensure_future(served.close())
            await successor.start()
            got = [addresses(await asyncio.wait_for(loop.sock_recv(other, 4096), 2)) for other in others]
            await closing
            reply, _ = await ask(sock, question("n2.test."), ("127.0.0.1", port))
            for other in others:
                other.close()
        await successor.close()
        served.close = _closed  # type: ignore[method-assign]
        return [*(one for reply in got for one in reply), *addresses(reply)]

    assert ["10.0.0.1"] * 40 + ["10.0.0.2"] == serve(kind, slow, body, bound)


@pytest.mark.plain
@both
@pytest.mark.parametrize("bound", ["127.0.0.1", ""])
def test_given_up_it_is_given_nothing_more(kind: Kind, bound: str) -> None:
    """While it waits for what it took, all that comes goes to its successor."""
    seen: list[str] = []

    async def answer(query: Any) -> Any:
        seen.append(query.name)
        return await slow(query)

    async def body(served: udp.Udp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with client() as sock:
            sock.sendto(question("n1.200.test."), ("127.0.0.1", port))
            await asyncio.sleep(0.02)
            successor = kind(listen(bound, port, socket.SOCK_DGRAM), listener(known), InFlight())
            await successor.start()
            closing = asyncio.ensure_future(served.close())
            await asyncio.sleep(0.02)
            for _ in range(40):
                with client() as other:
                    await ask(other, question("n2.1.test."), ("127.0.0.1", port))
            reply = await asyncio.wait_for(loop.sock_recv(sock, 4096), 20)
            await closing
        await successor.close()
        served.close = _closed  # type: ignore[method-assign]
        return addresses(reply), seen

    assert (["10.0.0.1"], ["n1.200.test."]) == serve(kind, answer, body, bound)


async def _closed(timeout: float = 0) -> None:
    """It is already."""


def test_who_asks_is_one_of_ipv4_on_a_socket_of_both_families() -> None:
    assert Address("10.1.2.3", 5) == Address.of_sockaddr(
        struct.pack("=HHI", socket.AF_INET6, socket.htons(5), 0) + bytes(10) + b"\xff\xff\x0a\x01\x02\x03" + bytes(4)
    )
