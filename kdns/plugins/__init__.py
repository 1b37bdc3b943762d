"""The plugins: which there are, and in which order they stand in a chain.

A query passes them in this order, wherever they stand in the Corefile. The names are all of CoreDNS 1.15's, in the order
of its plugin.cfg, so that a Corefile that names one that is not served here is told so, and a misspelt one gets a hint.
"""

import importlib
import importlib.util
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType

from kdns.errors import CorefileError

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
def load(name: str) -> ModuleType:
    """The module of a plugin: `kdns.plugins.<name>`, else the entry point of that name.

    CorefileError where there is none of that name here.
    """
    if name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    for entry in entry_points(group=GROUP, name=name):
        module: ModuleType = entry.load()
        return module
    raise CorefileError(f"plugin '{name}' is not served by kdns (yet)")
