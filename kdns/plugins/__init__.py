"""The plugins: which there are, and in which order they stand in a chain.

A query passes them in this order, wherever they stand in the Corefile. The names are all of CoreDNS 1.15's, in the order
of its plugin.cfg, so that a Corefile that names one that is not served here is told so, and a misspelt one gets a hint.
"""

import importlib
import importlib.util
import inspect
import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from kdns.core.plugin import Plugin
from kdns.errors import CorefileError, NoSuchPlugin, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ORDER: tuple[str, ...] = (
    "root", "metadata", "geoip", "cancel", "proxyproto", "quic", "grpc_server", "https", "https3", "timeouts",
    "multisocket", "reload", "nsid", "bufsize", "bind", "debug", "trace", "ready", "health", "pprof", "shed",
    "prometheus", "errors", "log", "dnstap", "local", "dns64", "siit", "any", "chaos", "loadbalance", "tsig", "rewrite",
    "autopath", "acl", "cache", "header", "dnssec", "tls", "minimal", "template", "transfer", "dynupdate", "hosts",
    "route53", "azure", "clouddns", "k8s_external", "kubernetes", "file", "auto", "secondary", "etcd", "loop",
    "forward", "grpc", "erratic", "whoami", "on", "sign", "view", "nomad",
)  # fmt: skip

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
    raise NoSuchPlugin(f"plugin '{name}' is not served by kdns (yet)")


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


def manual(name: str) -> str:
    """The manual of a plugin, the docstring of its module; CorefileError where there is no such plugin."""
    return inspect.getdoc(sys.modules[load(name).__module__]) or ""


def _class_of(module: ModuleType) -> type[Plugin]:
    """The one class that a module of a plugin defines on the contract."""
    found = [
        one for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Plugin) and one.__module__ == module.__name__
    ]  # fmt: skip
    if len(found) != 1:
        raise TypeError(f"{module.__name__} has {len(found)} classes that derive from Plugin, it needs one")
    return found[0]
