"""*ready* - answers `/ready` over HTTP.

Description
    `/ready` is 200 with the text `OK` once every plugin that has something to wait for has it, and 503 before, with a
    line for each plugin that is not ready: its name and why. It is 503 from the moment on that the server is told to
    stop. The reasons are logged whenever they change.

    The plugins of all server blocks with *ready* count. What is amiss though queries are answered (a looping upstream, data
    from before the API server went away) stands in lines below the OK.

Syntax
    ready [ADDRESS] {
        monitor until-ready|continuously
    }

    - ADDRESS is where to listen, `:8181` by default.
    - `monitor until-ready`, the default, does not ask a plugin again once it was ready; `continuously` asks all of
      them each time.

Metrics
    None.

Examples
    Both server blocks have to be ready, and to remain so:

        . {
            whoami
            ready localhost:8091 {
                monitor continuously
            }
        }
        example.org {
            whoami
            ready localhost:8091
        }
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, choice, listen, option
from kdns.core.behind import Request
from kdns.core.block import Block
from kdns.core.plugin import Plugin

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Options:
    address: str = argument(listen(":8181"))
    monitor: str = option(choice("until-ready", "continuously"), "until-ready")


class Ready(Plugin):
    """What `/ready` says of all server blocks that have this plugin."""

    table = Options

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block, self.address = block, options.address
        self.continuously = options.monitor == "continuously"
        self.were_ready: set[int] = set()  # plugins by id: they live as long as this one
        self.told: list[str] = []
        block.http(options.address, "/ready", self.page)

    async def page(self, request: Request) -> tuple[int, str, bytes]:
        if self.block.stopping:
            return 503, TEXT, b"shutting down\n"
        reasons = self.reasons()
        if reasons != self.told:
            log.info("not ready: %s", "; ".join(reasons)) if reasons else log.info("ready")
            self.told = reasons
        if reasons:
            return 503, TEXT, "".join(f"{line}\n" for line in reasons).encode()
        return 200, TEXT, "\n".join(["OK", *self.amiss()]).encode()

    def amiss(self) -> list[str]:
        """A line for each thing that is amiss though queries are answered: old data, a looping upstream."""
        every = (each for block in self.block.all_blocks for each in block.plugins)
        return list(dict.fromkeys(f"{name}: {remark}" for name, plugin in every for remark in plugin.remarks()))

    def reasons(self) -> list[str]:
        """A line for each plugin that is not ready."""
        again = any(other.continuously for other in self._others() if other.address == self.address)
        out = []
        for block in self.block.all_blocks:
            for name, plugin in block.plugins if block.named("ready") else ():
                if id(plugin) in self.were_ready:
                    continue
                if why := plugin.ready():
                    out.append(f"{name}: {why}")
                elif not again:
                    self.were_ready.add(id(plugin))
        return list(dict.fromkeys(out))

    def _others(self) -> Iterator["Ready"]:
        for block in self.block.all_blocks:
            for plugin in block.named("ready"):
                if isinstance(plugin, Ready):
                    yield plugin
