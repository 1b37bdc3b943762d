"""What the store knows, in a file: so that a start without an API server has answers.

A snapshot is frames, each a length (4 octets, big-endian) and so many octets of MessagePack: a header, objects by the
hundred, an end with a checksum over all before it. A file that is cut short, was changed, is of another format or another
Selection is refused as a whole. It is written beside its name and moved there, so there is always a whole one.

Nothing here raises: a snapshot that cannot be read or written is one line in the log. Encoding holds the loop for a
frame at a time; the disk, which may stall, is waited for in a thread.
"""

import asyncio
import logging
import os
import time
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kdns.cluster.objects import Namespace, Pod, Port, Selection, Service, Slice, Stored
from kdns.cluster.store import Store

log = logging.getLogger(__name__)

FORMAT = 1
FRAME = 100  # objects
EVERY = 30.0  # seconds between two snapshots, at least
HELD = 0.002  # seconds for which reading one holds the loop
_LENGTH = 4


class Header(Struct, array_like=True):
    """What a snapshot is of."""

    format: int
    selection: Selection
    cluster: str  # the uid of the namespace kube-system; "" where it was not seen
    written: float  # seconds since 1970


class _Objects(Struct, array_like=True):
    kind: str
    objects: Raw


class _End(Struct, array_like=True):
    checksum: int


_encoder = msgspec.msgpack.Encoder()
_header = msgspec.msgpack.Decoder(Header)
_objects = msgspec.msgpack.Decoder(_Objects)
_end = msgspec.msgpack.Decoder(_End)
_of_kind: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "services": msgspec.msgpack.Decoder(list[Service]),
    "namespaces": msgspec.msgpack.Decoder(list[Namespace]),
    "slices": msgspec.msgpack.Decoder(list[Slice]),
    "pods": msgspec.msgpack.Decoder(list[Pod]),
}


class Snapshot:
    """The snapshot of one Selection at a path."""

    def __init__(self, path: str, selection: Selection) -> None:
        self._path, self._selection = path, selection
        self._failing = False  # and in the log

    async def load(self, store: Store) -> Header | None:
        """Put what the file has into an empty store; None, and nothing put, where there is nothing that may be used."""
        try:
            octets = await asyncio.to_thread(self._read)
            header = self._check(octets)
            await self._put(octets, store)
        except FileNotFoundError:
            log.info("kubernetes: snapshot %s: there is none yet", self._path)
            return None
        except (OSError, ValueError) as error:
            log.warning("kubernetes: snapshot %s is not used: %s", self._path, _said(error))
            await store.replace(())
            return None
        return header

    async def _put(self, octets: bytes, store: Store) -> None:
        shared: dict[tuple[Port, ...], tuple[Port, ...]] = {}
        until = time.perf_counter() + HELD
        for frame in list(_frames(octets))[1:-1]:
            part = _objects.decode(frame)
            for o in _of_kind[part.kind].decode(part.objects):
                store.put(_shared(o, shared))
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + HELD

    def _read(self) -> bytes:
        with open(self._path, "rb") as file:
            return file.read()

    def _check(self, octets: bytes) -> Header:
        """The header of a whole file; ValueError says why it may not be used."""
        frames = list(_frames(octets))
        if len(frames) < 2:
            raise ValueError("it is cut short")
        header = _header.decode(frames[0])
        if header.format != FORMAT:
            raise ValueError(f"it has format {header.format}, and this is kdns with format {FORMAT}")
        if header.selection != self._selection:
            raise ValueError("it was written with other options of what to select")
        body = memoryview(octets)[: -len(frames[-1]) - _LENGTH]
        if zlib.crc32(body) != _end.decode(frames[-1]).checksum:
            raise ValueError("it was changed since it was written")
        for frame in frames[1:-1]:
            part = _objects.decode(frame)
            if part.kind not in _of_kind:
                raise ValueError(f"it has objects of an unknown kind, '{part.kind}'")
        return header

    async def write(self, store: Store, cluster: str) -> bool:
        """Write what the store has; False where that failed."""
        beside = f"{self._path}.new"
        try:
            file = await asyncio.to_thread(open, beside, "wb", 0)
            try:
                checksum = 0
                for frame in self._encoded(store, cluster):
                    checksum = zlib.crc32(frame, checksum)
                    await asyncio.to_thread(file.write, frame)
                await asyncio.to_thread(file.write, _framed(_End(checksum)))
            finally:
                file.close()
            await asyncio.to_thread(os.replace, beside, self._path)
        except OSError as error:
            if not self._failing:
                log.warning("kubernetes: snapshot %s cannot be written, trying on: %s", self._path, _said(error))
            self._failing = True
            return False
        if self._failing:
            log.warning("kubernetes: snapshot %s is written again", self._path)
        self._failing = False
        return True

    def _encoded(self, store: Store, cluster: str) -> Iterator[bytes]:
        """Frame by frame; objects that change meanwhile are in it as they are when their turn comes."""
        yield _framed(Header(FORMAT, self._selection, cluster, time.time()))
        tables: dict[str, dict[str, Any]] = {
            "services": store.services, "namespaces": store.namespaces, "slices": store.slices, "pods": store.pods,
        }  # fmt: skip
        for kind, table in tables.items():
            keys = list(table)
            for at in range(0, len(keys), FRAME):
                found = [table[key] for key in keys[at : at + FRAME] if key in table]
                yield _framed(_Objects(kind, Raw(_encoder.encode(found))))


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it was cut short or changed" if isinstance(error, msgspec.MsgspecError) else str(error)


def _framed(content: Struct) -> bytes:
    octets = _encoder.encode(content)
    return len(octets).to_bytes(_LENGTH, "big") + octets


def _frames(octets: bytes) -> Iterator[memoryview]:
    """The frames of a file; ValueError where it ends in the middle of one."""
    view, at = memoryview(octets), 0
    while at < len(view):
        size = int.from_bytes(view[at : at + _LENGTH], "big")
        at += _LENGTH + size
        if at > len(view):
            raise ValueError("it is cut short")
        yield view[at - size : at]


def _shared(o: Stored, seen: dict[tuple[Port, ...], tuple[Port, ...]]) -> Stored:
    """With equal lists of ports being one, as where objects come from an API server."""
    return o._replace(ports=seen.setdefault(o.ports, o.ports)) if isinstance(o, Service | Slice) else o
