"""The few parts of the library `kubernetes` that are used here, and nothing else of it in the process.

Its packages import all of it: two clients, and with them requests, oauthlib, websocket and pydantic. That is 21 MB and
0.15 s of CPU; the parts below are 3 MB and 0.02 s. So while they are imported, the packages above them stand there
without their `__init__` having run, and stand-ins take the place of pydantic and dateutil, which only models need.
Afterwards `sys.modules` is as it was: who imports `kubernetes` later gets it whole, as its own copy. A version of the
library that will not have it so is imported as it is; that costs memory and nothing else.

aiohttp, on which it stands, makes contexts of TLS as it is imported, which know all authorities that the system trusts: 0.03 s
of CPU and 2 MB. Connections to an API server have contexts of their own; so these read the authorities when one is first used.
"""

import importlib
import importlib.util
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

PACKAGES = ("kubernetes", "kubernetes.aio")  # the outer one first
UNUSED = ("pydantic", "dateutil", "dateutil.parser")
PARTS = (
    "kubernetes.aio.client.api_client",
    "kubernetes.aio.client.configuration",
    "kubernetes.aio.client.rest",
    "kubernetes.aio.config",
)


class _StandIn(ModuleType):
    """A module where every name is a class that does nothing, so that others can be derived from it."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": _ignore})


def _ignore(*_: Any, **__: Any) -> None: ...


@contextmanager
def alone() -> Iterator[None]:
    """For imports of PARTS: without the rest of the library, where that can be had."""
    if PACKAGES[0] in sys.modules:  # somebody has the whole of it already
        yield
        return
    before = dict(sys.modules)
    try:
        for name in PACKAGES:
            _place(name)
        for name in UNUSED:
            sys.modules.setdefault(name, _StandIn(name))
        for name in PARTS:
            importlib.import_module(name)
    except Exception:  # whatever a version of the library may raise that needs what is not there
        _forget(before)
        yield
        return
    yield
    _forget(before)


def _place(name: str) -> None:
    """Put a package where imports look for it, its `__init__` not run."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(name)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    above, _, last = name.rpartition(".")
    if above:
        setattr(sys.modules[above], last, module)


def _forget(before: dict[str, ModuleType]) -> None:
    for name in sys.modules.keys() - before.keys():
        if name.partition(".")[0] in (PACKAGES[0], *UNUSED):
            del sys.modules[name]


@contextmanager
def authorities_later() -> Iterator[None]:
    """Contexts that are made here read the system's authorities when the first connection is made by them."""
    read = ssl.SSLContext.set_default_verify_paths

    def read_now(context: Any, *args: Any, **options: Any) -> ssl.SSLObject:
        del context.wrap_bio
        read(context)
        wrapped: ssl.SSLObject = context.wrap_bio(*args, **options)
        return wrapped

    def read_later(context: Any) -> None:
        context.wrap_bio = partial(read_now, context)  # what asyncio makes a connection by

    setattr(ssl.SSLContext, "set_default_verify_paths", read_later)  # noqa: B010
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths


with authorities_later():
    import aiohttp
with alone():
    from kubernetes.aio.client.api_client import ApiClient
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.client.rest import RESTClientObject
    from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

__all__ = [
    "ApiClient", "ConfigException", "Configuration", "RESTClientObject", "aiohttp", "load_incluster_config", "load_kube_config",
]  # fmt: skip
