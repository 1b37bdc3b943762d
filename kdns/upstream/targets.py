"""Which upstreams there are: the words that name them in a Corefile, and files of nameservers.

A word is an address or a host name, with a port or without, `tls://` before it for DNS over TLS, `https://` for DNS over
HTTPS, `%NAME` after it for the name in the server's certificate; or a file such as /etc/resolv.conf, whose `nameserver` lines
count.
"""

import logging
import os
import re
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from kdns.config.values import host_port, PORTS
from kdns.core.files import read_text

log = logging.getLogger(__name__)

SCHEMES = ("dns", "tls", "https")
MOST_OCTETS, MOST_SERVERS = 1 << 16, 15  # of a file of nameservers; libc takes three servers


class Target(NamedTuple):
    """Where an upstream is, and how it is spoken to.

    `server_name` is what the Corefile says to be in its certificate, `name` the host name that its address was found by.
    """

    host: str
    port: int = PORTS["dns"]
    scheme: str = "dns"
    server_name: str = ""
    name: str = ""

    @property
    def encrypted(self) -> bool:
        return self.scheme != "dns"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Host(NamedTuple):
    """An upstream by host name: as many targets as the name has addresses."""

    name: str  # absolute, lower case
    port: int
    scheme: str = "dns"
    server_name: str = ""

    def at(self, address: str) -> Target:
        name = self.name.rstrip(".") if self.scheme != "dns" else ""  # of plain DNS two with one address are the same
        return Target(address, self.port, self.scheme, self.server_name, name)


class Tls(NamedTuple):
    """How TLS is spoken: files, the name in the server's certificate, and what tells that a file has changed."""

    cert: str = ""
    key: str = ""
    ca: str = ""
    server_name: str = ""
    stamps: tuple[tuple[int, int], ...] = ()

    def stamped(self) -> "Tls":
        """With the files' times and sizes; OSError where one is missing."""
        files = [Path(path).stat() for path in (self.cert, self.key, self.ca) if path]
        return self._replace(stamps=tuple((stat.st_mtime_ns, stat.st_size) for stat in files))

    def context(self, protocols: Sequence[str] = ()) -> "ssl.SSLContext":
        """With protocols that may be spoken inside (ALPN); OSError (ssl.SSLError is one) where a file is not what it should be."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context


def target(word: str, root: str = "") -> Target | Host | str:
    """The upstream that a word names, or the path of a file, relative to a root; ValueError where it can be neither."""
    scheme, _, rest = word.rpartition("://")
    scheme = scheme or "dns"
    if scheme not in SCHEMES:
        raise ValueError(f"'{word}': {scheme}:// is not served by kdns; {', '.join(f'{one}://' for one in SCHEMES)} are: use one")
    address, server_name = rest, ""
    if scheme != "dns" and (match := re.fullmatch(r"(.*?)%([^%:\]]+)(\]?)((?::[0-9]+)?)", rest)):
        server_name, address = match[2], match[1] + match[3] + match[4]
    if scheme == "https" and "/" in address:
        raise ValueError(f"'{word}': DNS over HTTPS is asked at /dns-query: write no path")
    try:
        host, port = host_port(address, PORTS[scheme])
    except ValueError:
        host, port = "", 0
    if _is_address(host):
        return Target(host, port, scheme, server_name)
    path = os.path.join(root, rest)
    if scheme == "dns" and os.path.isfile(path):
        return path
    if len(host) <= 253 and _HOST_NAME.fullmatch(host):
        return Host(f"{host.rstrip('.')}.".lower(), port, scheme, server_name)
    raise ValueError(f"'{word}' is neither an address nor a file nor a host name")


# The last label has a letter, or it would be an address that is none (RFC 1123 2.1).
_HOST_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*(?=[0-9-]*[A-Za-z])[A-Za-z0-9-]{1,63}\.?")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def nameservers(path: str) -> tuple[Target, ...]:
    """The servers that a file such as resolv.conf(5) names, in its order, each once, the first 15; FileError.

    A line that names no address is passed over, as libc does.
    """
    found: dict[Target, None] = {}
    for line in read_text(path, MOST_OCTETS).splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            if len(found) == MOST_SERVERS:
                log.warning("%s names more than %d nameservers: the others are not asked", path, MOST_SERVERS)
                break
            if _is_address(words[1]):
                found[Target(words[1])] = None
    return tuple(found)
