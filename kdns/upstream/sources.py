"""Where upstreams come from: targets, host names, and files of nameservers that are looked at again when they change.

What a file says is taken up only where it names at least one server: the last good one is kept, for an empty
resolv.conf is a file that is just being written.
"""

import logging
from collections.abc import Mapping, Sequence

from kdns.core.files import stamp
from kdns.errors import FileError
from kdns.upstream.targets import Host, nameservers, Target

log = logging.getLogger(__name__)


class Sources:
    """Targets, host names and paths, in their order. FileError where a file cannot be read at first.

    `addresses` are those of the host names as they are just now.
    """

    def __init__(self, sources: Sequence[Target | Host | str], addresses: Mapping[str, Sequence[str]] | None = None) -> None:
        self._sources = sources
        self._addresses: Mapping[str, Sequence[str]] = {} if addresses is None else addresses
        self.paths = [source for source in sources if isinstance(source, str)]
        self._stamps = {path: stamp(path) for path in self.paths}
        self._files = {path: nameservers(path) for path in self.paths}

    @property
    def targets(self) -> list[Target]:
        """All of them, each once."""
        found: list[Target] = []
        for source in self._sources:
            if isinstance(source, str):
                found += self._files[source]
            elif isinstance(source, Host):
                found += [source.at(address) for address in self._addresses.get(source.name, ())]
            else:
                found.append(source)
        return list(dict.fromkeys(found))

    def look(self) -> bool:
        """Read again what has changed; do the files name other servers now?"""
        changed = [self._look(path) for path in self.paths]  # all of them
        return any(changed)

    def _look(self, path: str) -> bool:
        found_stamp = stamp(path)
        if found_stamp == self._stamps[path]:
            return False
        self._stamps[path] = found_stamp
        try:
            found = nameservers(path)
        except FileError as error:
            log.warning("%s; its nameservers stay as they were", error)
            return False
        if not found:
            log.warning("%s names no nameserver, they stay as they were", path)
        if not found or found == self._files[path]:
            return False
        self._files[path] = found
        log.info("%s has changed, its nameservers are %s", path, ", ".join(target.host for target in found))
        return True
