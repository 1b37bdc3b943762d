"""From the text of a Corefile to an Instance that is ready to be served. Nothing is bound or dialled here."""

import glob
import sys
from pathlib import Path
from types import ModuleType

from kdns import plugins
from kdns.config.corefile import parse, ServerBlock
from kdns.config.directive import Directive
from kdns.core.memo import BUDGET
from kdns.core.site import Instance, Listener, Site
from kdns.errors import CorefileError, KdnsError
from kdns.server.sockets import shown

STDIN = ("-", "stdin")


class Disk:
    """How a Corefile's `import` reads files; `texts` are those read, by path."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def read(self, path: str) -> str:
        self.texts[path] = Path(path).read_text(encoding="utf-8")
        return self.texts[path]

    def glob(self, pattern: str) -> list[str]:
        return glob.glob(pattern)


def read_corefile(path: str) -> str:
    """The text of a Corefile, `-` and `stdin` being standard input; CorefileError where it cannot be had."""
    try:
        return sys.stdin.read() if path in STDIN else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CorefileError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise CorefileError(f"cannot read {path}: it is not UTF-8 text") from None


def configure(text: str, filename: str = "Corefile", dns_port: int = 53, instance: Instance | None = None) -> Instance:
    """Fill an Instance with what a Corefile describes; CorefileError and its kin say what is wrong.

    Where it fails, the Instance may hold things made already: its `close` ends them.
    """
    if instance is None:
        instance = Instance()
    instance.files[filename] = text
    blocks = parse(text, filename, Disk(instance.files), dns_port)
    if not blocks:
        raise CorefileError(f"{filename}: no server block; the least is a zone such as '.' and a plugin")
    for block in blocks:
        _set_up(block, instance)
    _listen(instance)
    return instance


def _set_up(block: ServerBlock, instance: Instance) -> None:
    """One server block: its plugins set up in their fixed order, whatever the order of the lines."""
    for key in block.keys:
        if key.scheme != "dns":
            raise CorefileError(f"{block.file}:{block.line}: {key.scheme}:// is not served by kdns; dns:// is")
    site = Site(block, instance)
    instance.sites.append(site)
    modules = [_load(directive) for directive in block.directives]
    for at in sorted(range(len(modules)), key=lambda at: _place(block.directives[at].name)):
        directive = block.directives[at]
        try:
            plugin = modules[at].setup(directive, site)
        except KdnsError:
            raise
        except (OSError, ValueError) as error:
            raise directive.error(str(error)) from error
        if plugin is not None:
            site.plugins.append((directive.name, plugin))
    site.complete()


def _load(directive: Directive) -> ModuleType:
    try:
        return plugins.load(directive.name)
    except CorefileError as error:
        if directive.name not in plugins.ORDER:
            raise directive.unknown(plugins.ORDER) from None
        raise directive.error(str(error)) from None


def _place(name: str) -> int:
    """Where a plugin stands in a chain; one from elsewhere before those that dial out or end it."""
    return plugins.ORDER.index(name if name in plugins.ORDER else "loop")


def _listen(instance: Instance) -> None:
    """The listening addresses that the server blocks name; their memos share one budget."""
    wanted = [
        (address, key.port, key.zone, site)
        for site in instance.sites
        for address in site.addresses or [""]
        for key in site.block.keys
    ]
    budget = BUDGET // max(1, len({(address, port) for address, port, _, _ in wanted}))
    for address, port, zone, site in wanted:
        listener = instance.listeners.get((address, port))
        if listener is None:
            listener = instance.listeners[address, port] = Listener(f"dns://{shown(address, port)}", budget)
        listener.sites.setdefault(zone, site)
        if listener not in site.listeners:
            site.listeners.append(listener)


def summary(instance: Instance) -> list[str]:
    """A line for each zone and address that is served, as CoreDNS shows them: `cluster.local.:53 on 127.0.0.1`."""
    lines: dict[str, None] = {}
    for site in instance.sites:
        for address in site.addresses or [""]:
            for key in site.block.keys:
                lines[f"{key.zone}:{key.port}" + (f" on {address}" if address else "")] = None
    return list(lines)
