"""TCP: several queries on one connection, and an end to what comes to nothing."""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import dns.message
import pytest

from kdns.dns.query import Address, Transport
from kdns.dns.response import Response, RRset
from kdns.server import tcp
from kdns.server.in_flight import InFlight
from kdns.server.sockets import listen
from tests.support.stage import addresses, Answer, framed, Hearing, known, listener, question, slow, who
from tests.support.waiting import PATIENCE, until

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def serve(
    answer: Answer, body: Callable[[tcp.Tcp, int], Awaitable[Any]], address: str = "127.0.0.1", **limits: float
) -> Any:
    """What body says of a socket that is served; afterwards nothing may be left."""

    async def run() -> Any:
        in_flight = InFlight()
        sock = listen(address, 0, socket.SOCK_STREAM)
        port = sock.getsockname()[1]
        served = tcp.Tcp(sock, listener(answer), in_flight)
        for name, value in limits.items():
            setattr(served.connections if name in ("most", "share") else served, name, value)
        await served.start()
        try:
            return await body(served, port)
        finally:
            await served.close(1)
            assert (0, 0, 0) == (len(served.connections), len(in_flight), served.untaken)

    return asyncio.run(run())


async def read(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), PATIENCE), "big")
    return await asyncio.wait_for(reader.readexactly(size), PATIENCE)


async def ended(reader: asyncio.StreamReader) -> bool:
    """The server closes, or resets, the connection."""
    try:
        return await asyncio.wait_for(reader.read(65536), PATIENCE) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(("bound", "asked"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("", "127.0.0.2"), ("", "::1")])
def test_who_asks_and_what_is_asked(bound: str, asked: str) -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection(asked, port)
        own = writer.get_extra_info("sockname")
        writer.write(framed(question("a.test.", 16)))
        reply = await read(reader)
        writer.close()
        return addresses(reply) == [f'"{own[0]} {own[1]}"', f'"{asked} {port}"']

    assert serve(who, body, bound)


def test_octet_by_octet() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for octet in framed(question("n7.test.")):
            writer.write(bytes([octet]))
            await asyncio.sleep(0.001)
        reply = await read(reader)
        writer.close()
        return addresses(reply)

    assert ["10.0.0.7"] == serve(known, body)


def test_replies_leave_as_they_are_ready() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(*(question(f"n{i}.{wait}.test.", id=i) for i, wait in enumerate((90, 10, 50)))))
        replies = [await read(reader) for _ in range(3)]
        writer.close()
        return [(reply[1], *addresses(reply)) for reply in replies]

    assert [(1, "10.0.0.1"), (2, "10.0.0.2"), (0, "10.0.0.0")] == serve(slow, body)


@pytest.mark.parametrize("answer", [known, slow], ids=["at once", "later"])
def test_more_queries_than_may_be_in_flight(answer: Answer) -> None:
    count = 500
    most = 0

    async def watched(query: Any) -> Any:
        nonlocal most, now
        now += 1
        most = max(most, now)
        try:
            return await answer(query)
        finally:
            now -= 1

    now = 0

    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(*(question(f"n{i}.1.test.", id=i) for i in range(count))))
        replies = [await read(reader) for _ in range(count)]
        writer.close()
        return sorted(int.from_bytes(reply[:2], "big") for reply in replies)

    assert list(range(count)) == serve(watched, body)
    assert most <= tcp.IN_FLIGHT


def test_others_have_their_turn() -> None:
    """A connection that asks much does not make another wait for all of it."""

    async def body(served: tcp.Tcp, port: int) -> Any:
        greedy_reader, greedy = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        greedy.write(framed(*(question("n1.test.", id=1) for _ in range(3000))))
        await asyncio.sleep(0)
        writer.write(framed(question("n2.test.")))
        reply = await read(reader)
        answered = len(greedy_reader._buffer) // 43  # type: ignore[attr-defined]
        writer.close()
        greedy.close()
        return addresses(reply), answered < 2900

    assert (["10.0.0.2"], True) == serve(known, body)


def test_half_closed_it_is_still_answered() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(question("n1.20.test."), question("n2.20.test.")))
        writer.write_eof()
        replies = [addresses(await read(reader)) for _ in range(2)]
        done = await ended(reader)
        writer.close()
        return replies, done

    assert ([["10.0.0.1"], ["10.0.0.2"]], True) == serve(slow, body)


@pytest.mark.parametrize(
    "sent",
    [b"", b"\0", framed(question("a.test."))[:20], framed(question("a.test."))],
    ids=["nothing", "half a length", "half a message", "one query"],
)
def test_what_comes_to_nothing_is_closed(sent: bytes) -> None:
    whole = sent == framed(question("a.test."))

    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        if whole:
            await read(reader)
        await until(lambda: bool(served.mine) and (whole or next(iter(served.mine))._octets == sent))
        (connection,) = served.mine
        now = served.loop.time()
        limit = tcp.IDLE if whole or not sent else tcp.READ
        for seconds in (limit - 1, limit + 1):
            assert connection in served.mine
            connection.check(now + seconds)
        done = await ended(reader)
        writer.close()
        return done

    assert serve(known, body)


def test_what_is_too_long_is_closed() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(struct.pack("!H", tcp.LONGEST + 1) + bytes(9))
        done = await ended(reader)
        writer.close()
        return done

    assert serve(known, body)


def test_idle_is_not_who_waits_for_an_answer() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(question("n1.50.test.")))
        await until(lambda: len(served.in_flight) == 1)
        (connection,) = served.mine
        connection.check(served.loop.time() + 100)
        reply = await read(reader)
        writer.close()
        return addresses(reply)

    assert ["10.0.0.1"] == serve(slow, body)


def test_a_client_that_does_not_read_is_closed() -> None:
    async def large(query: Any) -> Response:
        return Response(answer=(RRset(query.name, 16, 0, (b"\xff" + bytes(255),) * 200),))

    async def body(served: tcp.Tcp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            sending = asyncio.ensure_future(loop.sock_sendall(sock, framed(*[question("a.test.", 16)] * 5000)))
            await until(lambda: bool(served.mine) and next(iter(served.mine))._stuck > 0)
            (connection,) = served.mine
            connection.check(served.loop.time() + tcp.WRITE + 1)
            await until(lambda: not served.mine)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return len(served.connections)

    assert serve(large, body) == 0


def test_no_more_replies_are_made_than_are_taken() -> None:
    """What waits in memory for a client that does not read is bounded by octets, not by messages."""
    made = 0

    async def large(query: Any) -> Response:
        nonlocal made
        made += 1
        return Response(answer=(RRset(query.name, 16, 0, (b"\xff" + bytes(255),) * 200),))

    async def body(served: tcp.Tcp, port: int) -> Any:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, framed(*[question("a.test.", 16)] * 14))
            await until(lambda: made > 0)
            await asyncio.sleep(0.05)
            stuck = made, 0 < served.untaken < 65536
            left = 14 * (2 + len(question("a.test.", 16)) + 200 * 268)
            while left:
                left -= len(await asyncio.wait_for(loop.sock_recv(sock, 65536), PATIENCE))
        return stuck, made

    assert ((1, True), 14) == serve(large, body)


@pytest.mark.plain
def test_all_clients_that_do_not_read_together_are_bounded() -> None:
    """Late replies for many connections: the memory that waits is that of all, not of each."""
    most = 0
    release, began = asyncio.Event(), asyncio.Queue[None]()

    async def late(query: Any) -> Response:
        began.put_nowait(None)
        await release.wait()
        return Response(answer=(RRset(query.name, 16, 0, (b"\xff" + bytes(255),) * 220),))

    async def body(served: tcp.Tcp, port: int) -> Any:
        nonlocal most
        loop = asyncio.get_running_loop()
        weigh = tcp._Connection._weigh

        def weighed(self: Any, untaken: int) -> None:
            nonlocal most
            weigh(self, untaken)
            most = max(most, served.untaken)

        with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as close:
            patch.setattr(tcp._Connection, "_weigh", weighed)
            patch.setattr(tcp, "ALL_UNTAKEN", 400_000)
            for _ in range(20):
                sock = close.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", port))
                await loop.sock_sendall(sock, framed(*[question("a.test.", 16)] * 2))
            for _ in range(40):
                await began.get()
            release.set()
            await until(lambda: not len(served.in_flight))
            return 0 < len(served.mine) < 20, served.untaken <= 400_000

    assert (True, True) == serve(late, body)
    assert 400_000 < most < 400_000 + 65536


def test_a_kernel_keeps_little_of_each_connection() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: bool(served.mine))
        (connection,) = served.mine
        sock = connection._transport.get_extra_info("socket")
        sizes = {sock.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)}
        writer.close()
        return sizes <= {tcp.ROOM, 2 * tcp.ROOM}

    assert serve(known, body)


@pytest.mark.parametrize(("names", "expected"), [(["a", "a"], 2), (["a", "b"], 2), (["a"], 1), (["b", "a", "a", "b"], 4)])
def test_somebody_may_look_at_the_last_query_of_some(names: list[str], expected: int) -> None:
    """Hit or miss, with its client and the whole reply, once it is counted."""

    async def body(served: tcp.Tcp, port: int) -> Any:
        seen: list[Any] = []
        counts = served.listener.counts

        def look(wire: bytes, client: Address | bytes, reply: bytes | None) -> None:
            seen.append((wire, client, reply, counts.hits + counts.misses))

        served.listener.look, served.listener.look_at = look, 0.0
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        own = Address(*writer.get_extra_info("sockname"))
        wires = [question(f"{name}.test.", id=id) for id, name in enumerate(names)]
        writer.write(framed(*wires))
        replies = [await read(reader) for _ in names]
        writer.close()
        return seen == [(wires[-1], own, replies[-1], len(names))], len(replies)

    assert (True, expected) == serve(known, body)


def test_hits_of_the_memo() -> None:
    """They start nothing, and carry their own ids; what is asked over TCP for having been cut over UDP is answered whole."""
    started: list[str] = []
    names = ["n1.test.", "n2.test.", "n1.test.", "n3.test.", "n2.test."]

    async def answer(query: Any) -> Response:
        started.append(query.name)
        if query.name == "n3.test.":
            rdata = tuple(b"\xff" + bytes(254) + bytes([i]) for i in range(9))
            return Response(answer=(RRset(query.name, 16, 0, rdata),), stable_for=9e9)
        return await known(query)

    async def body(served: tcp.Tcp, port: int) -> Any:
        for name in ("n1.test.", "n2.test.", "n3.test."):
            await served.listener.reply(question(name), Address("127.0.0.1", 5), Address("127.0.0.1", 53), Transport.UDP)
        del started[:]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(*(question(name, id=id) for id, name in enumerate(names))))
        replies = [await read(reader) for _ in names]
        writer.close()
        assert served.listener.counts.hit_seconds > 0
        return [(reply[1], len(dns.message.from_wire(reply).answer[0])) for reply in replies], served.listener.counts.hits

    assert ([(0, 1), (1, 1), (2, 1), (3, 9), (4, 1)], 4) == serve(answer, body)
    assert ["n3.test."] == started


def test_who_hears_of_each_query_hears_of_hits() -> None:
    hearing = Hearing()
    wires = [question(name, id=id) for id, name in enumerate(("n1.test.", "n2.test.", "n1.test.", "n1.test."))]

    async def body(served: tcp.Tcp, port: int) -> Any:
        served.listener = listener(known, hearing)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(*wires))
        sizes = [len(await read(reader)) for _ in wires]
        me = Address(*writer.get_extra_info("sockname"))
        writer.close()
        ends = [(it.client, it.local, it.transport) for it in hearing.heard]
        assert [(me, Address("127.0.0.1", port), Transport.TCP)] * 4 == ends
        assert list(zip(wires, sizes, strict=True)) == [(it.wire, it.size) for it in hearing.heard]
        return served.listener.counts.hits

    assert 2 == serve(known, body)


def test_what_is_asked_over_tcp_enters_the_memo_where_it_fits_udp() -> None:
    """And hits are counted by what they came over."""
    counted: Counter[str] = Counter()

    async def answer(query: Any) -> Response:
        if query.name == "n2.test.":
            rdata = tuple(b"\xff" + bytes(254) + bytes([i]) for i in range(9))
            return Response(answer=(RRset(query.name, 16, 0, rdata),), stable_for=9e9)
        return await known(query)

    async def body(served: tcp.Tcp, port: int) -> Any:
        listener = served.listener
        for blocks in listener.blocks.values():
            for block in blocks:
                block.counters.append(lambda fact, times, seconds: counted.update({fact.transport.value: times}))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for name in ("n1.test.", "n2.test.", "n1.test.", "n2.test.", "n1.test."):
            writer.write(framed(question(name)))
            await read(reader)
        writer.close()
        entry = listener.memo.get(question("n1.test.")[2:])
        assert entry is not None
        entry.hits += 5  # as a socket of datagrams counts its own
        listener.answered.tell()
        listener.memo.fold()
        return len(listener.memo), listener.counts.hits

    assert (1, 2) == serve(answer, body)
    assert {"tcp": 5, "udp": 5} == counted


def test_what_changes_nothing_is_a_hit() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = []
        for id, name in enumerate(("N9.test.", "n9.TEST.", "n9.tEsT.")):
            writer.write(framed(question(name, id=id)))
            reply = await read(reader)
            asked.append((reply[1], str(dns.message.from_wire(reply).question[0].name), *addresses(reply)))
        writer.close()
        return asked, served.listener.counts.hits

    expected = [(0, "N9.test.", "10.0.0.9"), (1, "n9.TEST.", "10.0.0.9"), (2, "n9.tEsT.", "10.0.0.9")]
    assert (expected, 2) == serve(known, body)


def test_rotation_is_replayed() -> None:
    async def rotates(query: Any) -> Response:
        rdata = tuple(bytes((10, 0, 0, i)) for i in (1, 2, 3))
        return Response(answer=(RRset(query.name, 1, 5, rdata),), stable_for=9e9, depends=("x",), rotate=True)

    async def body(served: tcp.Tcp, port: int) -> Any:
        wire = question("a.test.")
        await served.listener.reply(wire, Address("127.0.0.1", 5), Address("127.0.0.1", 53), Transport.UDP)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(*[wire] * 3))
        replies = [await read(reader) for _ in range(3)]
        writer.close()
        return {addresses(reply)[0] for reply in replies}, served.listener.counts.hits

    assert ({"10.0.0.1", "10.0.0.2", "10.0.0.3"}, 3) == serve(rotates, body)


@pytest.mark.plain
def test_replies_of_one_read_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []

    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: bool(served.mine))
        (connection,) = served.mine
        write = connection._write

        def counted(octets: bytes) -> None:
            writes.append(len(octets))
            write(octets)

        monkeypatch.setattr(connection, "_write", counted)
        writer.write(framed(*(question(f"n{i % 3}.test.", id=i) for i in range(tcp.AT_ONCE))))
        for _ in range(tcp.AT_ONCE):
            await read(reader)
        writer.close()

    serve(known, body)
    assert 1 == len(writes)


def test_late_replies_that_nobody_takes_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many queries may wait for one thing, and be answered at one moment: what that takes is bounded."""
    most = 0

    async def body(served: tcp.Tcp, port: int) -> Any:
        nonlocal most
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, framed(*[question("a.test.", 16)] * 30))
            await until(lambda: len(served.in_flight) == 30)
            (connection,) = served.mine
            write = connection._transport.write

            def weighed(octets: bytes) -> None:
                nonlocal most
                write(octets)
                most = max(most, connection._transport.get_write_buffer_size())

            monkeypatch.setattr(connection._transport, "write", weighed)
            release.set()
            await until(lambda: not served.mine)
            return len(served.connections)

    release = asyncio.Event()

    async def late(query: Any) -> Response:
        await release.wait()
        return Response(answer=(RRset(query.name, 16, 0, (b"\xff" + bytes(255),) * 220),))

    assert 0 == serve(late, body)
    assert tcp.MOST_UNTAKEN < most < tcp.MOST_UNTAKEN + 65536


def test_too_many_connections_close_the_one_quiet_longest() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        streams: list[Streams] = []
        for i in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(framed(question(f"n{i}.test.")))
            await read(reader)
            streams.append((reader, writer))
        streams[0][1].write(framed(question("n9.test.")))  # the second is quiet longest now
        await read(streams[0][0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        streams.append((reader, writer))
        gone = await ended(streams[1][0])
        for i in (0, 2, 3):
            streams[i][1].write(framed(question("n5.test.")))
            assert ["10.0.0.5"] == addresses(await read(streams[i][0]))
        for _, writer in streams:
            writer.close()
        return gone

    assert serve(known, body, most=3)


def test_one_that_waits_for_its_answer_is_not_put_out() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for i, (_, writer) in enumerate(streams[:2]):
            writer.write(framed(question(f"n{i}.200.test.")))
        await until(lambda: len(served.in_flight) == 2 and len(served.mine) == 3)
        streams.append(await asyncio.open_connection("127.0.0.1", port))
        gone = await ended(streams[2][0])  # it is the youngest of the three, and nothing is done for it
        replies = [addresses(await read(reader)) for reader, _ in streams[:2]]
        for _, writer in streams:
            writer.close()
        return gone, replies

    assert (True, [["10.0.0.0"], ["10.0.0.1"]]) == serve(slow, body, most=3)


def test_a_client_that_has_its_share_makes_room_itself() -> None:
    async def connect(host: str, port: int) -> Streams:
        return await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))

    async def body(served: tcp.Tcp, port: int) -> Any:
        other = await connect("127.0.0.2", port)  # quiet longest of all
        streams = [await connect("127.0.0.1", port) for _ in range(5)]
        gone = [await ended(streams[i][0]) for i in range(3)]
        left = len(served.connections)
        other[1].write(framed(question("n1.test.")))
        reply = addresses(await read(other[0]))
        for _, writer in [other, *streams]:
            writer.close()
        return gone, left, reply

    assert ([True] * 3, 3, ["10.0.0.1"]) == serve(known, body, share=2)


def test_where_all_wait_for_answers_a_new_one_is_refused() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(question("n1.100.test.")))
        await until(lambda: len(served.in_flight) == 1)
        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        gone = await ended(second)
        reply = addresses(await read(reader))
        writer.close()
        second_writer.close()
        return gone, reply, served.connections.put_out

    assert (True, ["10.0.0.1"], 1) == serve(slow, body, most=1)


def test_garbage_ends_nothing() -> None:
    random.seed(7)

    async def body(served: tcp.Tcp, port: int) -> Any:
        for _ in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            wires = [random.randbytes(random.randrange(60)) for _ in range(20)]
            writer.write(framed(*wires) if random.random() < 0.7 else b"".join(wires))
            await asyncio.sleep(0.001)
            writer.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(question("n7.test.")))
        reply = await read(reader)
        writer.close()
        return addresses(reply)

    assert ["10.0.0.7"] == serve(known, body)


def test_given_up_it_answers_what_was_asked() -> None:
    async def body(served: tcp.Tcp, port: int) -> Any:
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(question("n1.100.test.")))
        await until(lambda: len(served.in_flight) == 1)
        closing = asyncio.ensure_future(served.close())
        reply = await read(reader)
        gone = await ended(idle_reader), await ended(reader)
        await closing
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        idle.close()
        return addresses(reply), gone

    assert (["10.0.0.1"], (True, True)) == serve(slow, body)
