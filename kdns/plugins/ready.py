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

from kdns.config.directive import Directive
from kdns.core.site import Site

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"


def setup(directive: Directive, site: Site) -> None:
    continuously = False
    directive.address(":8181")
    for option in directive.block:
        if option.name != "monitor":
            raise option.unknown(("monitor",))
        continuously = option.choice(("until-ready", "continuously")) == "continuously"
    address = directive.optional(":8181")
    before = site.instance.http.get(address, {}).get("/ready")
    continuously = continuously or getattr(getattr(before, "__self__", None), "continuously", False)
    site.instance.serve_http(address, "/ready", Ready(site, continuously).http)


class Ready:
    """What `/ready` says of all sites of an instance that have this plugin."""

    def __init__(self, site: Site, continuously: bool) -> None:
        self.instance = site.instance
        self.continuously = continuously
        self.were_ready: set[int] = set()  # plugins by id: they live as long as the instance
        self.told: list[str] = []

    async def http(self) -> tuple[int, str, bytes]:
        if self.instance.stopping:
            return 503, TEXT, b"shutting down\n"
        reasons = self.reasons()
        if reasons != self.told:
            log.info("not ready: %s", "; ".join(reasons)) if reasons else log.info("ready")
            self.told = reasons
        if reasons:
            return 503, TEXT, "".join(f"{line}\n" for line in reasons).encode()
        return 200, TEXT, "\n".join(["OK", *self.remarks()]).encode()

    def remarks(self) -> list[str]:
        """A line for each thing that is amiss though queries are answered: old data, a looping upstream."""
        out = []
        for site in self.instance.sites:
            for name, plugin in site.plugins:
                out += [f"{name}: {remark}" for remark in plugin.remarks()] if hasattr(plugin, "remarks") else []
        return list(dict.fromkeys(out))

    def reasons(self) -> list[str]:
        """A line for each plugin that is not ready."""
        out = []
        for site in self.instance.sites:
            if any(directive.name == "ready" for directive in site.block.directives):
                for name, plugin in site.plugins:
                    if not hasattr(plugin, "ready") or id(plugin) in self.were_ready:
                        continue
                    if why := plugin.ready():
                        out.append(f"{name}: {why}")
                    elif not self.continuously:
                        self.were_ready.add(id(plugin))
        return list(dict.fromkeys(out))
