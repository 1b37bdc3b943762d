"""What the store knows, in a file: so that a start without an API server has answers.

A snapshot is frames, each a length (4 octets, big-endian) and so many octets of MessagePack: a header, objects by the
hundred, an end with a checksum over all before it. A file that is cut short, was changed, is of another format or another
Selection is refused as a whole, and so is one with an object that no API server could have said: a store believes what it
is given. It is written beside its name and moved there, so there is always a whole one.

Nothing here raises: a snapshot that cannot be read or written is one line in the log. Encoding holds the loop for a
frame at a time; the disk, which may stall, is waited for in a thread.
"""

import asyncio
import logging
import os
import re
import time
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from kdns.cluster.apiserver import own_file
from kdns.cluster.balancers import ASKING, Entrance, External
from kdns.cluster.columns import hostnames_of
from kdns.cluster.objects import Namespace, Pod, Port, Selection, Service, Slice, Stored
from kdns.cluster.store import Store, table_key
from kdns.dns import names
from kdns.errors import one_line

log = logging.getLogger(__name__)

FORMAT = 1
FRAME = 100  # objects
MOST = 64 << 20  # octets: ten times what 10,000 Services with 100,000 endpoints take
EVERY = 30.0  # seconds between two snapshots, at least
HELD = 0.002  # seconds for which reading one holds the loop
_LENGTH = 4
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip"}


_NAME = re.compile(r"[-.:a-z0-9]{1,253}").fullmatch  # ":" where slices are made of Endpoints
_HOST = re.compile(r"[-_*.a-z0-9]{0,254}").fullmatch
_GATEWAY = re.compile(r"[-.a-z0-9]{1,63}/[-.a-z0-9]{1,253} Gateway").fullmatch


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
    "entrances": msgspec.msgpack.Decoder(list[Entrance]),
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
        except Exception as error:  # whatever is in a file, it must not end the process
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
                sound(o)
                store.put(_shared(o, shared))
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + HELD

    def _read(self) -> bytes:
        return own_file.read(self._path, MOST)

    def _check(self, octets: bytes) -> Header:
        """The header of a whole file; ValueError says why it may not be used."""
        if packed := next((how for start, how in _PACKED.items() if octets.startswith(start)), ""):
            raise ValueError(f"it is compressed ({packed})")
        frames = list(_frames(octets))
        if len(frames) < 2:
            raise ValueError("it is cut short")
        header = _header.decode(frames[0])
        if header.format != FORMAT:
            raise ValueError(f"it has format {header.format}, and this is kdns with format {FORMAT}")
        if header.selection != self._selection:
            raise ValueError("it was written with other options of what to select")
        if not 0 <= header.written < 1 << 33 or len(header.cluster) > 100:
            raise ValueError("its header is not one of kdns")
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
            file = await asyncio.to_thread(own_file.create, beside)
            try:
                checksum = 0
                for frame in self._encoded(store, cluster):
                    checksum = zlib.crc32(frame, checksum)
                    await asyncio.to_thread(file.write, frame)
                await asyncio.to_thread(file.write, _framed(_End(checksum)))
            finally:
                await asyncio.to_thread(file.close)
            await asyncio.to_thread(os.replace, beside, self._path)
        except (OSError, ValueError) as error:
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
            "entrances": store.entrances,
        }  # fmt: skip
        for kind, table in tables.items():
            keys = list(table)
            for at in range(0, len(keys), FRAME):
                found = [table[key] for key in keys[at : at + FRAME] if key in table]
                yield _framed(_Objects(kind, Raw(_encoder.encode(found))))


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, msgspec.MsgspecError):
        return "it was cut short or changed"
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def _framed(content: Struct) -> bytes:
    octets = _encoder.encode(content)
    return len(octets).to_bytes(_LENGTH, "big") + octets


def _frames(octets: bytes) -> Iterator[memoryview]:
    """The frames of a file; ValueError where it ends in the middle of one."""
    view, at = memoryview(octets), 0
    while at < len(view):
        size = int.from_bytes(view[at : at + _LENGTH], "big")
        at += _LENGTH + size
        if at > len(view) or not size:
            raise ValueError("it is cut short")
        yield view[at - size : at]


def _shared(o: Stored, seen: dict[tuple[Port, ...], tuple[Port, ...]]) -> Stored:
    """With equal lists of ports being one, as where objects come from an API server."""
    return replace(o, ports=seen.setdefault(o.ports, o.ports)) if isinstance(o, Service | Slice) else o


def sound(o: Stored) -> None:
    """ValueError where an object is not one that a source could have put: columns that do not fit, names that are none."""
    key = table_key(o)
    if isinstance(o, Entrance):
        key, _, kind = key.partition(" ")
    good = len(key) < 320 and all(map(_NAME, key.split("/"))) and key.count("/") == (not isinstance(o, Namespace))
    if isinstance(o, Service):
        good = good and all(len(ip) in (4, 16) for ip in o.ips) and _ports_are_sound(o.ports)
        good = good and (o.alias is None or o.alias == names.absolute(o.alias)) and o.selector.isprintable()
        good = good and (o.external is None or _is_reached(o.external))
    elif isinstance(o, Entrance):
        good = good and kind in ("Gateway", *ASKING) and _is_reached(o.external) and all(map(_GATEWAY, o.gateways))
    elif isinstance(o, Pod):
        good = good and all(len(ip) in (4, 16) for ip in o.ips)
    elif isinstance(o, Slice):
        good = good and o.width in (0, 4, 16) and _ports_are_sound(o.ports) and _columns_fit(o)
    if not good:
        raise ValueError(f"it has a {type(o).__name__} that is none: {one_line(key[:100])}")


def _is_reached(external: External) -> bool:
    every = (*external.names, *external.asked)
    return all(len(ip) in (4, 16) for ip in external.addresses) and all(name == names.absolute(name) for name in every)


def _columns_fit(s: Slice) -> bool:
    hostnames = hostnames_of(s)
    count = len(s.addresses) // s.width if s.width else len(hostnames)
    columns = (hostnames if s.hostnames is not None else None, s.pods, s.zones)
    return (
        len(s.addresses) == count * s.width
        and (s.hostnames is None or s.hostnames[:1] == s.hostnames[-1:] == "\0")
        and (s.unready is None or s.unready.replace("\0", "").isprintable())
        and all(column is None or len(column) == count for column in columns)
        and all(_HOST(hostname) for hostname in hostnames)
        and all(map(_NAME, s.service.split("/"))) and s.service.count("/") == 1
        and 0 <= s.total < 1 << 31
    )  # fmt: skip


def _ports_are_sound(ports: tuple[Port, ...]) -> bool:
    return all(_HOST(p.name) and _HOST(p.protocol) and 0 <= p.number <= 65535 for p in ports)
