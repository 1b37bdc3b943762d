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

from kdns.config.directive import Directive
from kdns.core.site import Site


def setup(directive: Directive, site: Site) -> None:
    directive.arguments(1)
    excepted: set[str] = set()
    for option in directive.block:
        if option.name != "except":
            raise option.unknown(("except",))
        excepted |= set(_addresses(option, option.arguments(1)))
    found = [address for address in _addresses(directive, directive.args) if address not in excepted]
    if not found:
        raise directive.error("no address is left to listen on")
    site.addresses += [address for address in dict.fromkeys(found) if address not in site.addresses]


def _addresses(directive: Directive, arguments: tuple[str, ...]) -> Iterator[str]:
    """The addresses that arguments stand for."""
    interfaces = {name for _, name in socket.if_nameindex()}
    for argument in arguments:
        if argument in interfaces:
            yield from interface_addresses(argument)
            continue
        try:
            yield str(ipaddress.ip_address(argument))
        except ValueError:
            raise directive.error(f"'{argument}' is neither an address nor an interface of this machine") from None


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
