"""A snapshot gives back what the store had, and is refused as a whole where it is not exactly that."""

import asyncio
import gzip
import logging
import os
import resource
import stat
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kdns.cluster.apiserver import snapshot
from kdns.cluster.apiserver import source as apiserver
from kdns.cluster.apiserver.snapshot import Snapshot
from kdns.cluster.apiserver.source import ApiServer, Connection
from kdns.cluster.apiserver.tallies import Absence
from kdns.cluster.balancers import Entrance, External
from kdns.cluster.objects import joined, Namespace, Pod, Port, Selection, Service, Slice, Stored
from kdns.cluster.store import Store, table_key
from kdns.dns import names
from kdns.testing.apiserver import FakeApiServer
from tests.cluster.apiserver.test_reflector import BUSY, QUICK, service

HTTP = (Port("http", 80, "tcp"),)
OBJECTS: tuple[Stored, ...] = (
    Namespace("prod", (("team", "a"),)),
    Service("prod/web", (names.packed("10.96.0.1"), names.packed("fd00::1")), HTTP),
    Service("prod/away", (), (), "example.com."),
    Slice("prod/web-1", "prod/web", 4, names.packed("10.244.0.1") * 2, joined(["a", ""]), HTTP, 3, ("web-0", None), ("z", None)),
    Slice("prod/away-1", "prod/away", 0, b"", joined(["db.example.com."]), ()),
    Pod("prod/web-0", (names.packed("10.244.0.1"),)),
    Entrance("prod/web HTTPRoute", External((), (), ("*.example.org.",)), ("infra/edge Gateway",)),
    Entrance("infra/edge Gateway", External((names.packed("192.0.2.1"),), ("lb.cloud.test.",), ())),
)


def stored(*objects: Stored) -> Store:
    store = Store()
    store.put(*objects)
    return store


def tables(store: Store) -> tuple[Any, ...]:
    return store.services, store.namespaces, store.slices, store.pods, store.entrances


def many() -> list[Stored]:
    return [Service(f"prod/s{i}", (names.packed(f"10.96.{i // 250}.{i % 250}"),), HTTP) for i in range(1234)]


@pytest.mark.parametrize("objects", [(), OBJECTS, tuple(many())], ids=["none", "of each kind", "many"])
def test_what_is_written_is_read(objects: tuple[Stored, ...], tmp_path: Path) -> None:
    async def test() -> None:
        snapshot, store, found = Snapshot(str(tmp_path / "s"), Selection()), stored(*objects), Store()
        assert await snapshot.write(store, "uid-1")
        header = await snapshot.load(found)
        assert header is not None
        assert "uid-1" == header.cluster
        assert time.time() - header.written < 5
        assert tables(store) == tables(found)

    asyncio.run(test())
    assert ["s"] == [path.name for path in tmp_path.iterdir()]


def flipped(octets: bytes) -> bytes:
    return octets.replace(b"web-1", b"web-2")


REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda octets: b"", "cut short"),
    "cut": (lambda octets: octets[:-3], "cut short"),
    "cut between frames": (lambda octets: octets[:-10], "cut short or changed"),
    "changed": (flipped, "was changed"),
    "longer": (lambda octets: octets * 2, "was changed"),
    "another format": (lambda octets: octets[:5] + b"\x63" + octets[6:], "has format 99"),
    "something else": (lambda octets: b"#!/bin/sh\necho hello\n", "cut short"),
    "zeros": (lambda octets: bytes(4096), "cut short"),
    "compressed": (gzip.compress, "it is compressed (gzip)"),
    "too large": (lambda octets: octets + bytes(snapshot.MOST), "it is too large: more than 64 MiB"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_whole_is_refused_with_a_line(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, why = REFUSED[name]
    path = tmp_path / "s"

    async def test() -> None:
        snapshot, store = Snapshot(str(path), Selection()), Store()
        await snapshot.write(stored(*OBJECTS), "uid-1")
        path.write_bytes(spoil(path.read_bytes()))
        assert await snapshot.load(store) is None
        assert ({}, {}, {}, {}, {}) == tables(store)

    with caplog.at_level(logging.WARNING, "kdns"):
        asyncio.run(test())
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"kubernetes: snapshot {path} is not used: ")
    assert why in line


@pytest.mark.parametrize("missing", [1, 3, 12, 100])
def test_where_the_disk_is_full_the_one_before_stays(missing: int, tmp_path: Path) -> None:
    """Also where only the end does not fit, of which the system takes a part without an error."""
    path = tmp_path / "s"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def test() -> bool:
        snapshot, store = Snapshot(str(path), Selection()), stored(*OBJECTS)
        await snapshot.write(store, "uid-1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - missing, hard))
        try:
            return await snapshot.write(store, "uid-1")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not asyncio.run(test())
    assert loads(path)


WEB = Slice("prod/web-1", "prod/web", 4, names.packed("10.244.0.1"), None, HTTP, 1)
UNSOUND: dict[str, Stored] = {
    "a key that is none": Service("prod", (), ()),
    "an entrance of no kind": Entrance("prod/web Door", External((), (), ())),
    "a Gateway's address of no octets": Entrance("prod/web Gateway", External((b"",), (), ())),
    "a Gateway that is none": Entrance("prod/web HTTPRoute", External((), (), ("a.",)), ("infra/edge",)),
    "a name that is none": Service("prod/a\0b", (), ()),
    "an address of three octets": Service("prod/web", (b"abc",), ()),
    "an alias that is not absolute": Service("prod/web", (), (), "example.com"),
    "a port that is none": Service("prod/web", (), (Port("http", 70000, "tcp"),)),
    "a port of an odd name": Service("prod/web", (), (Port("a b", 80, "tcp"),)),
    "a width that is none": replace(WEB, width=5),
    "half an address": replace(WEB, addresses=b"\x0a\0"),
    "hostnames for two": replace(WEB, hostnames=joined(["a", "b"])),
    "an odd hostname": replace(WEB, hostnames=joined(["a\x1b"])),
    "hostnames that are no column": replace(WEB, hostnames="abc"),
    "Pods for two": replace(WEB, pods=("a", "b")),
    "zones for none": replace(WEB, zones=()),
    "a Service that is none": replace(WEB, service="web"),
    "a Pod with half an address": Pod("prod/web-0", (b"a",)),
    "a namespace with a slash": Namespace("a/b"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_one_with_an_object_that_cannot_be_is_refused(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        snapshot, odd, store = Snapshot(str(tmp_path / "s"), Selection()), Store(), Store()
        for o in (*OBJECTS, UNSOUND[name]):  # unseen by `put`
            odd.tables[type(o)][table_key(o)] = o
        await snapshot.write(odd, "uid-1")
        assert await snapshot.load(store) is None
        assert ({}, {}, {}, {}, {}) == tables(store)

    with caplog.at_level(logging.WARNING, "kdns"):
        asyncio.run(test())
    [line] = caplog.messages
    assert f"is not used: it has a {type(UNSOUND[name]).__name__} that is none: " in line
    assert line.isprintable()


# ---------------------------------------------------------------- whose file


def loads(path: Path) -> bool:
    async def load() -> bool:
        return await Snapshot(str(path), Selection()).load(Store()) is not None

    return asyncio.run(load())


def writes(path: Path) -> bool:
    return asyncio.run(Snapshot(str(path), Selection()).write(stored(*OBJECTS), "uid-1"))


def linked(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


NOT_OURS: dict[str, tuple[Callable[[Path], object], str]] = {
    "writable by others": (lambda path: path.chmod(0o602), "it may be written to by others (mode 0602)"),
    "writable by the group": (lambda path: path.chmod(0o620), "it may be written to by others (mode 0620)"),
    "another user's": (lambda path: os.chown(path, 12345, 0), "it belongs to another user (uid 12345)"),
    "in a folder for all": (lambda path: path.parent.chmod(0o777), "may be written to by others (mode 0777); name a directory"),
    "in another user's folder": (lambda path: os.chown(path.parent, 12345, 0), "belongs to another user (uid 12345)"),
    "a link": (linked, "it is a symbolic link"),
    "a FIFO": (fifo, "it is not a file"),
    "a folder": (folder_instead, "Is a directory"),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_one_that_somebody_else_could_have_written_is_refused(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if "another user" in name and os.geteuid():
        pytest.skip("only root gives files away")
    change, why = NOT_OURS[name]
    path = tmp_path / "own" / "s"
    assert writes(path)
    change(path)
    with caplog.at_level(logging.WARNING, "kdns"):
        assert not loads(path)
    [line] = caplog.messages
    assert line.startswith(f"kubernetes: snapshot {path} is not used: ")
    assert why in line


def test_it_is_written_where_nobody_else_may_write_and_through_no_link(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, precious = tmp_path / "own" / "s", tmp_path / "precious"
    precious.write_text("as it was")
    assert writes(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    path.with_name("s.new").symlink_to(precious)
    path.unlink()
    path.symlink_to(precious)
    assert writes(path)
    assert "as it was" == precious.read_text()
    assert path.is_file() and not path.is_symlink()
    assert loads(path)
    path.parent.chmod(0o777)
    with caplog.at_level(logging.WARNING, "kdns"):
        assert not writes(path)
    [line] = caplog.messages
    assert "cannot be written, trying on: its directory " in line


def test_another_selection_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        path, store = str(tmp_path / "s"), Store()
        await Snapshot(path, Selection()).write(stored(*OBJECTS), "")
        assert await Snapshot(path, Selection(namespaces=("prod",))).load(store) is None
        assert {} == store.services

    asyncio.run(test())


def test_what_cannot_be_read_or_written_is_a_line_each_time_it_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        folder = tmp_path / "absent" / "too"
        snapshot, store = Snapshot(str(folder / "s"), Selection()), stored(*OBJECTS)
        assert await snapshot.load(Store()) is None
        assert [False, False] == [await snapshot.write(store, ""), await snapshot.write(store, "")]
        folder.parent.mkdir()
        assert await snapshot.write(store, "")

    with caplog.at_level(logging.WARNING, "kdns"):
        asyncio.run(test())
    assert 0o700 == stat.S_IMODE((tmp_path / "absent" / "too").stat().st_mode)
    where = f"kubernetes: snapshot {tmp_path / 'absent' / 'too' / 's'}"
    assert [
        f"{where} cannot be written, trying on: No such file or directory", f"{where} is written again"
    ] == caplog.messages  # fmt: skip


# ---------------------------------------------------------------- at a start


def kube_system(uid: str) -> dict[str, Any]:
    return {"metadata": {"name": "kube-system", "uid": uid}}


def source(api: FakeApiServer, path: Path, patience: float = BUSY) -> ApiServer:
    return ApiServer(Connection(endpoint=api.url), Selection(), Store(), str(path), patience, QUICK)


async def run_before(api: FakeApiServer, path: Path) -> None:
    """A run of kdns that leaves a snapshot."""
    api.put("namespaces", kube_system("uid-1"))
    api.put("namespaces", {"metadata": {"name": "prod"}})
    for name in ("a", "b"):
        api.put("services", service(name))
    before = source(api, path)
    await before.start()
    assert before.store.synced
    await before.close()


def test_a_start_without_an_api_server_answers_from_it_and_goes_on_with_the_difference(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "s"
        async with FakeApiServer() as api:
            await run_before(api, path)
            await api.stop()
            api.delete("services", "prod/a")
            api.put("services", service("c", "10.96.0.3"))
            now = source(api, path)
            await asyncio.wait_for(now.start(), 20)  # it knows at once that nobody answers
            assert (True, True, {"prod/a", "prod/b"}) == (now.store.synced, now.stale, set(now.store.services))
            told: list[set[Any]] = []
            now.store.listeners.append(lambda keys: told.append(set(keys)))
            await api.start()
            await api.until(lambda: not now.stale, "the API server's own")
            assert {"prod/b", "prod/c"} == set(now.store.services)
            assert "prod/b" not in set().union(*told)
            assert now.store.synced
            await now.close()

    asyncio.run(test())


def test_where_the_clock_was_ahead_when_it_was_written_it_is_no_younger_than_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Absence, "BREAK", 0.0)

    async def test() -> None:
        async with FakeApiServer() as api:
            ahead = time.time() + 3600
            with monkeypatch.context() as then:
                then.setattr(snapshot.time, "time", lambda: ahead)
                await run_before(api, tmp_path / "s")
            await api.stop()
            now = source(api, tmp_path / "s")
            await now.start()
            await api.until(lambda: "is away" in caplog.text, "the line")
            await now.close()

    with caplog.at_level(logging.WARNING, "kdns"):
        asyncio.run(test())
    assert "answers go on from what is known as of 0 s ago" in caplog.text


def test_with_an_api_server_it_is_not_needed(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeApiServer() as api:
            await run_before(api, tmp_path / "s")
            api.delete("services", "prod/a")
            now = source(api, tmp_path / "s")
            await now.start()
            assert (True, False, {"prod/b"}) == (now.store.synced, now.stale, set(now.store.services))
            await now.close()

    asyncio.run(test())


def test_that_of_another_cluster_is_dropped_when_that_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def stall(exchange: Any) -> Any:
        return await exchange.stall()

    async def test() -> None:
        async with FakeApiServer() as old, FakeApiServer() as other:
            await run_before(old, tmp_path / "s")
            other.put("namespaces", kube_system("uid-2"))
            other.put("services", service("x"))
            other.play("endpointslices", stall, times=None)
            other.play("services", stall, times=None)
            now = source(other, tmp_path / "s", 1.0)
            await now.start()
            await other.until(lambda: {"kube-system"} == set(now.store.namespaces), "the other cluster's namespaces")
            assert (False, False) == (now.store.synced, now.stale)
            other.heal()
            other.hang_up()
            await other.until(lambda: now.store.synced, "the list of the other cluster")
            assert {"prod/x"} == set(now.store.services)
            await now.close()

    with caplog.at_level(logging.WARNING, "kdns"):
        asyncio.run(test())
    assert "kubernetes: the snapshot is of another cluster than this API server, and is dropped" in caplog.messages


def test_it_is_written_when_something_has_changed_and_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apiserver, "EVERY", 0.2)
    written: list[float] = []

    class Counted(Snapshot):
        async def write(self, store: Store, cluster: str) -> bool:
            written.append(time.monotonic())
            return await super().write(store, cluster)

    monkeypatch.setattr(apiserver, "Snapshot", Counted)

    async def test() -> None:
        async with FakeApiServer() as api:
            now = source(api, tmp_path / "s")
            await now.start()
            await api.until(lambda: len(written) == 1, "the first")
            await asyncio.sleep(0.3)
            assert 1 == len(written), "nothing has changed"
            for i in range(30):
                api.put("services", service(f"s{i}"))
                await asyncio.sleep(0.01)
            await api.until(lambda: len(written) >= 2, "the changes")
            assert all(b - a > 0.15 for a, b in pairwise(written))
            await now.close()
            store = Store()
            await Snapshot(str(tmp_path / "s"), Selection()).load(store)
            assert 30 == len(store.services)

    asyncio.run(test())
