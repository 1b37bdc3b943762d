"""The plugins: which there are, and in which order they stand in a chain.

A query passes them in this order, wherever they stand in the Corefile. The names are all of CoreDNS 1.15's, in the order
of its plugin.cfg, and kdns's own (*admin*, *page*, *memo*, *ratelimit*, *cookie*), so that a Corefile that names one that is
not served here is told so, and a misspelt one gets a hint.
"""

import ast
import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from kdns.config.directive import did_you_mean
from kdns.config.options import argument, lines
from kdns.core.plugin import Plugin
from kdns.errors import CorefileError, NoSuchPlugin, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ORDER: tuple[str, ...] = (
    "root", "metadata", "geoip", "cancel", "proxyproto", "quic", "grpc_server", "https", "https3", "timeouts",
    "multisocket", "reload", "nsid", "bufsize", "bind", "debug", "trace", "ready", "health", "pprof", "admin", "page", "shed",
    "memo", "prometheus", "errors", "log", "dnstap", "ratelimit", "cookie", "local", "dns64", "siit", "any", "chaos", "loadbalance",
    "tsig", "rewrite", "autopath", "acl", "cache", "header", "dnssec", "tls", "minimal", "template", "transfer", "dynupdate",
    "hosts", "route53", "azure", "clouddns", "k8s_external", "kubernetes", "file", "auto", "secondary", "etcd", "loop",
    "forward", "grpc", "erratic", "whoami", "on", "sign", "view", "nomad",
)  # fmt: skip

_NOT_HERE = "is not served by kdns: "
INSTEAD = {  # what to do in place of words that are not served, those of the past and of clouds among them
    "proxy": "is gone since CoreDNS 1.5: write 'forward FROM TO...' in its place",
    "federation": "is gone since CoreDNS 1.7, as federation is from Kubernetes: leave it out",
    "startup": "is gone, as from CoreDNS: use an init container",
    "shutdown": "is gone, as from CoreDNS: use the Pod's lifecycle hooks",
    "on": _NOT_HERE + "use the Pod's lifecycle hooks, or an init container",
    "geoip": _NOT_HERE + "leave it out, or forward these names to a server that knows places",
    "proxyproto": _NOT_HERE + "let the load balancer keep clients' addresses (externalTrafficPolicy: Local)",
    "quic": _NOT_HERE + "put a proxy for DNS over QUIC in front, or use tls://",
    "grpc_server": _NOT_HERE + "put a proxy in front, or use https://",
    "https": _NOT_HERE + "leave it out, https:// addresses have bounds of their own",
    "https3": _NOT_HERE + "use https://, which speaks HTTP/2 and HTTP/1.1",
    "siit": _NOT_HERE + "forward these names to a resolver that does it",
    "tsig": _NOT_HERE + "say who may ask with acl, and who may transfer with transfer's to",
    "dnssec": _NOT_HERE + "sign the zone where its file is made, and serve it with file",
    "sign": _NOT_HERE + "sign the zone file with ldns-signzone or dnssec-signzone, and serve it with file",
    "dynupdate": _NOT_HERE + "change Services or the zone file, or copy a primary's zone with secondary",
    "route53": _NOT_HERE + "forward these zones to the VPC's resolver, which answers private zones",
    "azure": _NOT_HERE + "forward these zones to 168.63.129.16, which answers private zones",
    "clouddns": _NOT_HERE + "forward these zones to 169.254.169.254, which answers private zones",
    "etcd": _NOT_HERE + "forward these zones to a CoreDNS that keeps it",
    "nomad": _NOT_HERE + "forward these zones to a CoreDNS that keeps it",
    "grpc": _NOT_HERE + "write 'forward FROM tls://ADDRESS'",
    "k8s_gateway": _NOT_HERE + "write 'k8s_external' with 'hostnames' and 'resources', beside 'kubernetes'",
}
WITHOUT_EFFECT = {  # taken, for answers are the same without
    "dnstap": "has no effect: no copy of queries is sent, log and prometheus say what was asked",
    "trace": "has no effect: no traces are sent, prometheus says how long answers take",
    "multisocket": "has no effect: one process answers on one core, more replicas answer on more",
}

GROUP = "kdns.plugins"  # the entry points of plugins from elsewhere


@cache
def load(name: str) -> type[Plugin]:
    """The class of a plugin: the one of `kdns.plugins.<name>`, else what the entry point of that name leads to.

    NoSuchPlugin where there is none of that name; CorefileError where the one from elsewhere is none.
    """
    if name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return _class_of(importlib.import_module(f"{__name__}.{name}"))
    from importlib.metadata import entry_points  # 8 ms, where a plugin is from elsewhere

    for entry in entry_points(group=GROUP, name=name):
        return _from_elsewhere(entry)
    if name in WITHOUT_EFFECT:
        return type(name, (_WithoutEffect,), {"note": WITHOUT_EFFECT[name]})
    if name in INSTEAD:
        raise NoSuchPlugin(f"plugin '{name}' {INSTEAD[name]}")
    raise NoSuchPlugin(f"unknown plugin '{name}'{did_you_mean(name, ORDER)}")


def elsewhere() -> list[str]:
    """The names of plugins that installed packages offer."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=GROUP).names - set(ORDER))


def _from_elsewhere(entry: "EntryPoint") -> type[Plugin]:
    """What an entry point leads to; CorefileError where that is no plugin."""
    package = entry.dist.name if entry.dist is not None else entry.value
    try:
        loaded = entry.load()
        found = loaded if isinstance(loaded, type) else _class_of(loaded)
    except Exception as error:  # it is anybody's code
        raise CorefileError(f"plugin '{entry.name}' of package {package} cannot be loaded: {one_line(str(error))}") from error
    if not issubclass(found, Plugin):
        raise CorefileError(f"plugin '{entry.name}' of package {package} does not derive from kdns.core.plugin.Plugin")
    return found


@dataclass(frozen=True)
class _Anything:
    """Whatever a directive says."""

    words: None = argument(lambda o: None)
    lines: tuple[None, ...] = lines(lambda o: None)


class _WithoutEffect(Plugin):
    table = _Anything


def manual(name: str) -> str:
    """The manual of a plugin, the docstring of its module; CorefileError where there is no such plugin."""
    if issubclass(load(name), _WithoutEffect):
        return f"*{name}* - {WITHOUT_EFFECT[name]}."
    module = sys.modules[load(name).__module__]
    return inspect.getdoc(module) or _docstring_in_source(module)


def _docstring_in_source(module: ModuleType) -> str:
    """The docstring of a compiled module, which has left it in its source, in the same folder."""
    compiled = Path(module.__file__ or "")
    try:
        source = compiled.with_name(compiled.name.partition(".")[0] + ".py").read_text()
    except OSError:
        return ""
    return ast.get_docstring(ast.parse(source)) or ""


def differences(name: str) -> list[str]:
    """What the manual of a plugin says that differs from CoreDNS: the items of its section Differences, a line each."""
    section = manual(name).partition("\nDifferences\n")[2]
    lines = takewhile(lambda line: not line or line.startswith(" "), section.splitlines())
    items = " ".join(line.strip() for line in lines).split("- ")
    return [item.strip() for item in items if item.strip()]


def _class_of(module: ModuleType) -> type[Plugin]:
    """The one class that a module of a plugin defines on the contract."""
    found = [
        one for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Plugin) and one.__module__ == module.__name__
    ]  # fmt: skip
    if len(found) != 1:
        raise TypeError(f"{module.__name__} has {len(found)} classes that derive from Plugin, it needs one")
    return found[0]
