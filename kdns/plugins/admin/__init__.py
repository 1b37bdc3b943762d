"""*admin* - answers `kdns explain`, `kdns tail`, `kdns dump` and `kdns flush` on a Unix socket.

Description
    It is kdns's own, and off where it does not stand. Whoever may write to the socket (its mode is 0600: the user that kdns runs
    as, and root) may see every query and every name, and may have what is kept of a name forgotten; nothing else can be changed.
    *explain* asks upstreams where the answer needs them, and the API server for the versions and ages of a Service and its slices,
    for two seconds at most; it is counted nowhere. While *tail* is listening no query is answered from the memo: that costs most of
    the speed for as long.

    It concerns the whole process. Server blocks that name the same PATH share it.

Syntax
    admin [PATH]

    - PATH is where the socket is, `/run/kdns/admin.sock` by default; its folder must be there.

Metrics
    None.

Examples
    Ask with `kdns explain web.prod.svc.cluster.local --socket /tmp/kdns.sock`:

        . {
            admin /tmp/kdns.sock
            whoami
        }
"""

import asyncio
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.core.block import Block
from kdns.core.plugin import Plugin
from kdns.plugins.admin.desk import Desk, PATH


def _path(o: Directive) -> str:
    return o.optional(PATH)


@dataclass(frozen=True)
class Options:
    path: str = argument(_path)


class Admin(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        path = block.path(options.path)
        self._desk = block.keep(("admin", path), lambda: Desk(path))

    async def run(self) -> None:
        """From now on this generation is the one that is asked about."""
        self._desk.serve(self.block.all_blocks)
        await asyncio.get_running_loop().create_future()
