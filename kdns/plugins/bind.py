"""*bind* - says on which addresses a server block listens.

Description
    Without it a server block listens on all addresses of the machine. An interface stands for all its addresses, IPv4
    and IPv6, as they are when the Corefile is read. Several *bind* in a server block add up.

    Server blocks of the same port should all have *bind*, or none of them.

Syntax
    bind ADDRESS|INTERFACE... {
        except ADDRESS|INTERFACE...
    }

    - `except` leaves addresses out, of this *bind* only.

Metrics
    None.

Examples
    Only this machine can ask:

        . {
            bind 127.0.0.1
            whoami
        }

    All addresses of an interface but one:

        . {
            bind lo {
                except ::1
            }
            whoami
        }
"""

import ctypes
import ipaddress
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, option
from kdns.core.block import Block
from kdns.core.plugin import Plugin


def _addresses(o: Directive) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_listed(o)))


@dataclass(frozen=True)
class Options:
    wanted: tuple[str, ...] = argument(_addresses)
    except_: tuple[str, ...] = option(_addresses, (), many=True)


class Bind(Plugin):
    table = Options

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        found = [address for address in options.wanted if address not in options.except_]
        if not found:
            raise directive.error("no address is left to listen on")
        block.listen_on(found)


def _listed(o: Directive) -> Iterator[str]:
    """The addresses that arguments stand for."""
    interfaces = {name for _, name in socket.if_nameindex()}
    for word in o.arguments(1):
        if word in interfaces:
            yield from interface_addresses(word)
            continue
        try:
            yield str(ipaddress.ip_address(word))
        except ValueError:
            raise ValueError(f"'{word}' is neither an address nor an interface of this machine") from None


class _Ifaddrs(ctypes.Structure):
    """struct ifaddrs, as far as it is read here (getifaddrs(3))."""


_Ifaddrs._fields_ = [
    ("next", ctypes.POINTER(_Ifaddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(ctypes.c_ubyte)),
]

_FAMILY_AT = 0 if sys.platform == "linux" else 1  # elsewhere sockaddr begins with its length


def interface_addresses(interface: str) -> list[str]:
    """The addresses of an interface now; those of a link (fe80::/10) with the interface's name. OSError as getifaddrs."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = ctypes.POINTER(_Ifaddrs)()
    if libc.getifaddrs(ctypes.byref(head)):
        raise OSError(ctypes.get_errno(), "getifaddrs")
    out = []
    try:
        at = head
        while at:
            entry = at.contents
            if entry.name == interface.encode() and entry.address:
                if entry.address[_FAMILY_AT] == socket.AF_INET:
                    out.append(socket.inet_ntop(socket.AF_INET, bytes(entry.address[4:8])))
                elif entry.address[_FAMILY_AT] == socket.AF_INET6:
                    address = socket.inet_ntop(socket.AF_INET6, bytes(entry.address[8:24]))
                    out.append(f"{address}%{interface}" if ipaddress.ip_address(address).is_link_local else address)
            at = entry.next
    finally:
        libc.freeifaddrs(head)
    return out
