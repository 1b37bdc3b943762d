"""Which upstreams there are: the words that name them in a Corefile, and files of nameservers.

A word is an address, with a port or without, `tls://` before it for DNS over TLS, `%NAME` after it for the name in
the server's certificate; or a file such as /etc/resolv.conf, whose `nameserver` lines count.
"""

import logging
import re
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from kdns.config.values import host_port
from kdns.core.files import read_text

log = logging.getLogger(__name__)

PLAIN, TLS = 53, 853
MOST_OCTETS, MOST_SERVERS = 1 << 16, 15  # of a file of nameservers; libc takes three servers


class Target(NamedTuple):
    """Where an upstream is."""

    host: str
    port: int = PLAIN
    tls: bool = False
    server_name: str = ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Tls(NamedTuple):
    """How DNS over TLS is spoken: files, the name in the server's certificate, and what tells that a file has changed."""

    cert: str = ""
    key: str = ""
    ca: str = ""
    server_name: str = ""
    stamps: tuple[tuple[int, int], ...] = ()

    def stamped(self) -> "Tls":
        """With the files' times and sizes; OSError where one is missing."""
        files = [Path(path).stat() for path in (self.cert, self.key, self.ca) if path]
        return self._replace(stamps=tuple((stat.st_mtime_ns, stat.st_size) for stat in files))

    def context(self) -> ssl.SSLContext:
        """OSError (ssl.SSLError is one) where a file is not what it should be."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context


def target(word: str, root: str = "") -> Target | str:
    """The upstream that a word names, or the path of a file, relative to a root; ValueError where it can be neither."""
    scheme, separator, rest = word.rpartition("://")
    if separator and scheme not in ("dns", "tls"):
        raise ValueError(f"'{word}': {scheme}:// is not served by kdns; dns:// and tls:// are")
    tls = scheme == "tls"
    address, server_name = rest, ""
    if tls and (match := re.fullmatch(r"(.*?)%([^%:\]]+)(\]?)((?::[0-9]+)?)", rest)):
        server_name, address = match[2], match[1] + match[3] + match[4]
    try:
        host, port = host_port(address, TLS if tls else PLAIN)
        ip_address(host)
        return Target(host, port, tls, server_name)
    except ValueError:
        pass
    path = Path(root, rest)
    if tls or not path.is_file():
        raise ValueError(f"'{word}' is neither an address nor a file")
    return str(path)


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
            try:
                ip_address(words[1])
            except ValueError:
                continue
            found[Target(words[1])] = None
    return tuple(found)
