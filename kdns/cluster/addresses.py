"""The addresses of a cluster: which Services have each, and whether there are any within a prefix. No I/O.

Several slices of a Service may have an address, and several Services; each time is counted, so that one that goes is taken
away without a look at the others. Most addresses are had once, and are then kept as the Service's key and nothing else; several
keys are one string, too. For at a dictionary of octets and strings the garbage collector never looks, and at one with a single
tuple among 100,000 addresses it takes 10 ms to.

In order are kept only the networks that addresses are in, all octets but the last: addresses come by the hundred thousand, their
networks by the hundred.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

CHUNK = 512  # addresses of a list that is split when it is twice as long

_AND = "\0"  # no key has one
_OCTETS = [n.to_bytes(1, "big") for n in range(256)]


class Addresses:
    """Addresses, packed, with the keys of the Services that have them."""

    def __init__(self) -> None:
        self._services: dict[bytes, str] = {}  # several with _AND between them, a key as often as the address is had
        self._networks = {4: _Networks(), 16: _Networks()}  # by width of an address

    def services(self, address: bytes) -> tuple[str, ...]:
        """The Services that have an address, each once."""
        found = self._services.get(address)
        if found is None:
            return ()
        return (found,) if _AND not in found else tuple(dict.fromkeys(found.split(_AND)))

    def add(self, address: bytes, service: str) -> None:
        """A Service has the address, once more."""
        there = self._services.get(address)
        if there is None:
            self._services[address] = service
            self._networks[len(address)].add(address[:-1])
        else:
            self._services[address] = f"{there}{_AND}{service}"

    def remove(self, address: bytes, service: str) -> None:
        """A Service, which had the address, has it once less."""
        there = self._services[address]
        if _AND not in there:
            del self._services[address]
            self._networks[len(address)].remove(address[:-1])
            return
        left = there.split(_AND)
        left.remove(service)
        self._services[address] = _AND.join(left)

    def within(self, prefix: bytes, bits: int) -> Iterator[bytes]:
        """Those that begin with the first `bits` of `prefix` (padded with zeros), in order; the first comes at once."""
        width = len(prefix)
        last = (int.from_bytes(prefix, "big") | (1 << 8 * width - bits) - 1).to_bytes(width, "big")
        for network in self._networks[width].since(prefix[:-1]):
            if network > last:
                return
            for octet in _OCTETS:
                address = network + octet
                if address in self._services and prefix <= address <= last:
                    yield address


class _Networks:
    """Networks in order, each with how many addresses are in it."""

    __slots__ = ("_counts", "_ordered")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._ordered = _Ordered()

    def add(self, network: bytes) -> None:
        """One more address is in it."""
        count = self._counts.get(network, 0)
        self._counts[network] = count + 1
        if not count:
            self._ordered.add(network)

    def remove(self, network: bytes) -> None:
        """One address less is in it."""
        count = self._counts[network]
        if count > 1:
            self._counts[network] = count - 1
        else:
            del self._counts[network]
            self._ordered.remove(network)

    def since(self, network: bytes) -> Iterator[bytes]:
        return self._ordered.since(network)


class _Ordered:
    """Sorted octets in short lists: one more, or one less, moves some hundred others, however many there are."""

    __slots__ = ("_chunks", "_firsts")

    def __init__(self) -> None:
        self._firsts = [b""]  # of each chunk: the least that belongs into it
        self._chunks: list[list[bytes]] = [[]]

    def add(self, octets: bytes) -> None:
        at = bisect_right(self._firsts, octets) - 1
        chunk = self._chunks[at]
        insort(chunk, octets)
        if len(chunk) > 2 * CHUNK:
            self._firsts.insert(at + 1, chunk[CHUNK])
            self._chunks.insert(at + 1, chunk[CHUNK:])
            del chunk[CHUNK:]

    def remove(self, octets: bytes) -> None:
        at = bisect_right(self._firsts, octets) - 1
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, octets)]
        if not chunk and at:
            del self._chunks[at], self._firsts[at]

    def since(self, octets: bytes) -> Iterator[bytes]:
        at = bisect_right(self._firsts, octets) - 1
        yield from self._chunks[at][bisect_left(self._chunks[at], octets) :]
        for chunk in self._chunks[at + 1 :]:
            yield from chunk
