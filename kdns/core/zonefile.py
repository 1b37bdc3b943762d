"""A zone in a file, read again when the file changes: what *file* and *auto* share."""

import asyncio
import logging

from kdns.core.authority import Held
from kdns.core.files import read_text, Stamp, stamp
from kdns.dns import master
from kdns.dns.zone import Zone
from kdns.errors import FileError, ZoneFileError

log = logging.getLogger(__name__)


class ZoneFile(Held):
    """The zone of an origin in the file at a path.

    A version counts as newer where the serial of its SOA is another one; `by_mtime`: where any of the files has changed.
    """

    def __init__(self, path: str, origin: str, made_by: str, by_mtime: bool = False) -> None:
        super().__init__(origin)
        self.path = path
        self._made_by = made_by
        self._by_mtime = by_mtime
        self._newest: Zone | None = None  # read; perhaps by one who was cancelled before it could be taken
        self._seen: dict[str, Stamp] = {}  # the files that it was read from, those included too

    def read(self) -> Zone:
        """The zone as the file has it now, for a thread where others wait; ZoneFileError, FileError where it has none."""
        self._seen = {self.path: stamp(self.path)}  # before it is read: what changes meanwhile is seen the next time
        found = master.read(self.path, self.origin, self._text_of)
        for remark in found.remarks:
            log.warning("%s", remark)
        return Zone(self.origin, found.rrsets, self.key, self._made_by)

    def _text_of(self, path: str) -> str:
        self._seen[path] = stamp(path)
        return read_text(path)

    async def follow(self) -> None:
        """Take up a newer version, where a file has changed."""
        await asyncio.to_thread(self.look)
        self.take_newest()

    def take_newest(self) -> None:
        """What `look` has found is served from now on."""
        if self._newest is not None and self._newest is not self.zone:
            log.info("%s: serial %d from %s", self.origin, self._newest.timers.serial, self.path)
            self.take(self._newest)

    def look(self) -> None:
        """Read what has changed, for a thread where others wait. What is wrong with it is logged, and told as `why_not`."""
        if self._seen and all(stamp(path) == seen for path, seen in self._seen.items()):
            return
        try:
            zone = self.read()
        except (ZoneFileError, FileError) as error:
            self.why_not = f"cannot be served: {error}"
            log.warning("%s %s%s", self.origin, self.why_not, ", the version before stays" if self.zone else "")
            return
        self.why_not = ""
        if self.zone is None or self._by_mtime or zone.timers.serial != self.zone.timers.serial:
            self._newest = zone
