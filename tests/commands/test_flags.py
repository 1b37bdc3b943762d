"""Flags as Go's programs take them."""

import pytest

from kdns.commands.serve import _parser

CASES = [
    ("-quiet", {"quiet": True}),
    ("--quiet", {"quiet": True}),
    ("-quiet=true -version=1 -plugins=T", {"quiet": True, "version": True, "plugins": True}),
    ("-quiet=false --version=0 -plugins=F", {"quiet": False, "version": False, "plugins": False}),
    ("-conf=x -dns.port=5353", {"conf": "x", "port": 5353}),
    ("--conf x -p 0", {"conf": "x", "port": 0}),
    ("-p=53", {"port": 53}),
    ("-log-format=json", {"log_format": "json"}),
    ("--log-format text", {"log_format": "text"}),
    ("-pidfile=a -port-file b", {"pidfile": "a", "port_file": "b"}),
    ("--manifests a b --manifests c", {"manifests": ["a", "b", "c"]}),
    ("--forward --manifests a", {"forward": "/etc/resolv.conf", "manifests": ["a"]}),
    ("--manifests a --forward 192.0.2.1 --hosts b", {"forward": "192.0.2.1", "hosts": "b"}),
]


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_flags(words: str, expected: dict[str, object]) -> None:
    found = vars(_parser().read(words.split()))
    assert expected == {name: found[name] for name in expected}


@pytest.mark.parametrize("word", ["-h", "-help", "--help"])
def test_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _parser().read([word])
    assert (0, True) == (ended.value.code, capsys.readouterr().out.startswith("usage: kdns"))
