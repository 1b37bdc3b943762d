"""The Corefile that stands for manifests."""

from pathlib import Path

import pytest

from kdns.commands import corefiles
from kdns.server.load import load


def test_hosts_and_forward_stand_around_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corefiles, "own_addresses", lambda: ["127.0.0.1"])
    hosts = tmp_path / "my hosts"
    hosts.write_text("192.0.2.7 laptop.test\n")
    manifests = tmp_path / "c.yaml"
    manifests.write_text("")
    for forward, upstreams in (("192.0.2.1", "192.0.2.1"), (str(hosts), f'"{hosts}"')):
        text = corefiles.laboratory([str(manifests)], 1053, hosts=str(hosts), forward=forward)
        assert f"    forward . {upstreams}" in text.splitlines()
    text = corefiles.laboratory([str(manifests)], 1053, hosts=str(hosts), forward="192.0.2.1")
    names = [name for name, _ in load(text).blocks[0].plugins]
    assert ["errors", "loadbalance", "cache", "hosts", "kubernetes", "loop", "forward"] == [n for n in names if n != "bind"]
