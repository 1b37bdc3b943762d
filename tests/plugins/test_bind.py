import pytest

from kdns.plugins import bind
from tests.support.configured import generation_of, in_block


@pytest.fixture(autouse=True)
def _interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    addresses = {"lo": ["127.0.0.1", "::1"], "eth0": ["10.0.0.7", "fe80::7%eth0"]}
    monkeypatch.setattr(bind, "interface_addresses", addresses.__getitem__)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("bind 127.0.0.1", ["127.0.0.1"]),
        ("bind 127.0.0.1 0:0::1", ["127.0.0.1", "::1"]),
        ("bind 127.0.0.1\nbind ::1 127.0.0.1", ["127.0.0.1", "::1"]),
        ("bind lo", ["127.0.0.1", "::1"]),
        ("bind lo eth0 {\nexcept ::1 eth0\n}", ["127.0.0.1"]),
        ("bind lo {\nexcept ::1\n}\nbind ::1", ["127.0.0.1", "::1"]),
        ("bind eth0", ["10.0.0.7", "fe80::7%eth0"]),
        ("whoami", []),
    ],
)
def test_addresses(block: str, expected: list[str]) -> None:
    generation = generation_of(in_block(block))
    assert expected == generation.blocks[0].addresses
    assert [("dns", address, 53) for address in expected or [""]] == list(generation.listeners)


def test_the_loopback_interface_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert "127.0.0.1" in bind.interface_addresses("lo")
    assert [] == bind.interface_addresses("nowhere0")
