"""Which words name upstreams, and what files of nameservers say."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kdns.errors import FileError
from kdns.upstream.sources import Sources
from kdns.upstream.targets import Host, nameservers, Target, target

TARGETS = [
    ("10.0.0.1", Target("10.0.0.1", 53)),
    ("10.0.0.1:5353", Target("10.0.0.1", 5353)),
    ("dns://10.0.0.1", Target("10.0.0.1", 53)),
    ("2001:db8::1", Target("2001:db8::1", 53)),
    ("[2001:db8::1]:5353", Target("2001:db8::1", 5353)),
    ("[fe80::1%eth0]:5353", Target("fe80::1%eth0", 5353)),
    ("tls://9.9.9.9", Target("9.9.9.9", 853, "tls")),
    ("tls://9.9.9.9%dns.quad9.net", Target("9.9.9.9", 853, "tls", "dns.quad9.net")),
    ("tls://9.9.9.9%dns.quad9.net:10853", Target("9.9.9.9", 10853, "tls", "dns.quad9.net")),
    ("tls://[2620:fe::fe]%dns.quad9.net", Target("2620:fe::fe", 853, "tls", "dns.quad9.net")),
    ("tls://[2620:fe::fe%dns.quad9.net]:853", Target("2620:fe::fe", 853, "tls", "dns.quad9.net")),
    (__file__, Path(__file__)),
    ("https://9.9.9.9", Target("9.9.9.9", 443, "https")),
    ("https://9.9.9.9%dns.quad9.net:8443", Target("9.9.9.9", 8443, "https", "dns.quad9.net")),
    ("https://[2620:fe::fe]", Target("2620:fe::fe", 443, "https")),
    ("DNS.Example", Host("dns.example.", 53)),
    ("dns.example.:5353", Host("dns.example.", 5353)),
    ("dns-1", Host("dns-1.", 53)),
    ("_dns.x2:53", Host("_dns.x2.", 53)),
    ("tls://dns.example", Host("dns.example.", 853, "tls")),
    ("tls://dns.example%other.example:10853", Host("dns.example.", 10853, "tls", "other.example")),
    ("https://dns.example", Host("dns.example.", 443, "https")),
    ("https://dns.example/dns-query", "'https://dns.example/dns-query': DNS over HTTPS is asked at /dns-query: write no path"),
    ("quic://9.9.9.9", "'quic://9.9.9.9': quic:// is not served by kdns; dns://, tls://, https:// are: use one"),
    ("grpc://9.9.9.9", "'grpc://9.9.9.9': grpc:// is not served by kdns; dns://, tls://, https:// are: use one"),
    ("/nonexistent/resolv.conf", "'/nonexistent/resolv.conf' is neither an address nor a file nor a host name"),
    ("10.0.0.1:99999", "'10.0.0.1:99999' is neither an address nor a file nor a host name"),
    ("10.0.0.300", "'10.0.0.300' is neither an address nor a file nor a host name"),
    ("dns..example", "'dns..example' is neither an address nor a file nor a host name"),
    (":53", "':53' is neither an address nor a file nor a host name"),
    ("tls://", "'tls://' is neither an address nor a file nor a host name"),
    ("a" * 64, f"'{'a' * 64}' is neither an address nor a file nor a host name"),
    ("a." * 130, f"'{'a.' * 130}' is neither an address nor a file nor a host name"),
]


@pytest.mark.parametrize(("word", "expected"), TARGETS)
def test_words_that_name_upstreams(word: str, expected: Target | Host | Path | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(ValueError) as caught:
            target(word)
        assert expected == str(caught.value)
    else:
        assert (expected if isinstance(expected, Target | Host) else str(expected)) == target(word)


FILES = [
    ("nameserver 10.0.0.1\nnameserver 2001:db8::1\n", ["10.0.0.1:53", "[2001:db8::1]:53"]),
    ("# a\n; b\nsearch example.org\noptions ndots:5\nnameserver 10.0.0.1 # c\n", ["10.0.0.1:53"]),
    ("nameserver 10.0.0.1\nnameserver 10.0.0.1\nnameserver dns.example\nnameserver\n", ["10.0.0.1:53"]),
    ("", []),
    ("".join(f"nameserver 10.0.{n >> 8}.{n & 255}\n" for n in range(2000)), [f"10.0.0.{n}:53" for n in range(15)]),
]


@pytest.mark.parametrize(("text", "expected"), FILES)
def test_files_of_nameservers(text: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert expected == [str(found) for found in nameservers(str(tmp_path / "resolv.conf"))]


ODD: list[tuple[str, Callable[[Path], object], str]] = [
    ("FIFO", os.mkfifo, "it is no regular file"),
    ("device", lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    ("directory", Path.mkdir, "is a directory"),
    ("huge", lambda path: path.write_text("nameserver 10.0.0.1\n" * 50_000), "it has 1000000 octets, more than 65536"),
    ("binary", lambda path: path.write_bytes(b"nameserver \xff"), "it is not UTF-8 text"),
]


@pytest.mark.parametrize(("kind", "make", "expected"), ODD)
def test_odd_files_are_refused_at_once(kind: str, make: Callable[[Path], object], expected: str, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    make(path)
    with pytest.raises(FileError) as caught:
        nameservers(str(path))
    assert f"cannot read {path}: {expected}" == str(caught.value)


@pytest.mark.parametrize(("kind", "make", "expected"), ODD)
def test_a_file_that_becomes_odd_changes_nothing(
    kind: str, make: Callable[[Path], object], expected: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    sources = Sources([str(path)])
    path.unlink()
    make(path)
    assert (False, ["10.0.0.1:53"]) == (sources.look(), [str(target) for target in sources.targets])
    assert [f"cannot read {path}: {expected}; its nameservers stay as they were"] == caplog.messages
