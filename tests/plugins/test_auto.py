"""Zone files in a directory: which are zones, those that come and go, and what is wrong with them."""

import asyncio
from pathlib import Path

import pytest

from kdns.core.generation import Generation
from kdns.dns.response import Response, RRset
from kdns.dns.types import A
from kdns.plugins.auto import Auto
from tests.support.configured import generation_of, refused
from tests.support.zone_files import asked, write


def corefile(folder: Path, more: str = "", zones: str = "", options: str = "") -> str:
    return f". {{\nauto {zones} {{\ndirectory {folder} {more}\n{options}\n}}\n}}\n"


async def looked(generation: Generation) -> None:
    """As if it were time to look at the directory."""
    (auto,) = generation.blocks[0].named("auto")
    assert isinstance(auto, Auto)
    await auto.look()


@pytest.mark.parametrize(
    ("file", "more", "zones", "expected"),
    [
        ("db.example.org", "", "", "example.org."),
        ("old.db.example.org", "", "", "example.org."),
        ("below/here/db.example.org", "", "", "example.org."),
        ("..data/db.example.org", "", "", None),
        ("example.org.zone", "", "", None),
        ("example.org.zone", r"^(.*)\.zone$ {1}", "", "example.org."),
        ("example.org.zone.bak", r"^(.*)\.zone$ {1}", "", None),
        ("org_example", r"(.*)_(.*) {2}.{1}", "", "example.org."),
        ("Example", r"(.*) {1}.org", "", "example.org."),
        ("db.example.org", "", "org", "example.org."),
        ("db.example.org", "", "example.net", None),
        ("db.", "", "", None),
        ("db.a..b", "", "", None),
    ],
)
def test_the_zone_of_a_file(tmp_path: Path, file: str, more: str, zones: str, expected: str | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, "a A 192.0.2.1\n")
    generation = generation_of(corefile(tmp_path, more, zones))
    assert ({expected} if expected else set()) == set(generation.blocks[0].named("auto")[0].held)  # type: ignore[attr-defined]
    assert (["AA", "192.0.2.1"] if expected else ["REFUSED"]) == asked(generation, "a.example.org")


def test_zones_come_change_and_go(tmp_path: Path) -> None:
    generation = generation_of(corefile(tmp_path))
    path = tmp_path / "db.example.org"
    write(path, "a A 192.0.2.1\n")
    assert ["REFUSED"] == asked(generation, "a.example.org")  # the memo has it
    for records, serial, expected in (
        ("a A 192.0.2.1\n", 1, ["AA", "192.0.2.1"]),
        ("a A 192.0.2.2\n", 1, ["AA", "192.0.2.1"]),
        ("a A 192.0.2.2\n", 2, ["AA", "192.0.2.2"]),
        ("a A wrong\n", 3, ["AA", "192.0.2.2"]),
    ):
        write(path, records, serial)
        asyncio.run(looked(generation))
        assert expected == asked(generation, "a.example.org")
    path.unlink()
    asyncio.run(looked(generation))
    assert ["REFUSED"] == asked(generation, "a.example.org")


def test_a_mounted_configmap(tmp_path: Path) -> None:
    """Its files are links to ..data/FILE, and ..data is a link to a folder of that version."""
    for version in (1, 2):
        (tmp_path / f"..{version}").mkdir()
        write(tmp_path / f"..{version}" / "db.example.org", f"a A 192.0.2.{version}\n", serial=version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "db.example.org").symlink_to("..data/db.example.org")
    generation = generation_of(corefile(tmp_path))
    assert ["AA", "192.0.2.1"] == asked(generation, "a.example.org")
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to("..2")
    asyncio.run(looked(generation))
    assert ["AA", "192.0.2.2"] == asked(generation, "a.example.org")


def test_of_two_files_with_one_origin_the_first_counts(tmp_path: Path) -> None:
    write(tmp_path / "b.db.example.org", "a A 192.0.2.2\n")
    write(tmp_path / "a.db.example.org", "a A 192.0.2.1\n")
    generation = generation_of(corefile(tmp_path))
    assert ["AA", "192.0.2.1"] == asked(generation, "a.example.org")
    (tmp_path / "a.db.example.org").unlink()
    asyncio.run(looked(generation))
    assert ["AA", "192.0.2.2"] == asked(generation, "a.example.org")


def test_a_file_that_cannot_be_served_is_told_and_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "db.example.org").write_text("nonsense")
    write(tmp_path / "db.example.net", "a A 192.0.2.1\n")
    generation = generation_of(corefile(tmp_path))
    assert (["AA", "192.0.2.1"], ["SERVFAIL"]) == (asked(generation, "a.example.net"), asked(generation, "a.example.org"))
    why = f"example.org. cannot be served: {tmp_path / 'db.example.org'}:1: the record of nonsense.example.org. has no type"
    assert [why] == generation.blocks[0].named("auto")[0].remarks()
    asyncio.run(looked(generation))
    assert [why] == [message for message in caplog.messages if "org" in message]  # once


def test_what_does_not_exist_falls_through(tmp_path: Path) -> None:
    write(tmp_path / "db.example.org", "a A 192.0.2.1\n")
    other = Response(answer=(RRset("b.example.org.", A, 60, (b"\x0a\0\0\1",)),), stable_for=60)
    assert ["AA", "10.0.0.1"] == asked(generation_of(corefile(tmp_path, options="fallthrough"), other), "b.example.org")
    assert ["NXDOMAIN", "AA"] == asked(generation_of(corefile(tmp_path), other), "b.example.org")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "Corefile:2: auto: needs a directory: write 'directory DIR'"),
        ("directory", "Corefile:3: auto: directory: takes 1 to 4 arguments, has none"),
        ("directory d (", "Corefile:3: auto: directory: takes a directory, or a directory, a regular expression and a template; "
                          "how often is said by reload"),
        ("directory d ( {1}", "Corefile:3: auto: directory: '(' is no regular expression: missing ): ("),
        ("directory d .* {0}", "Corefile:3: auto: directory: '.*' has no group to take the origin from"),
        ("directory d (.*) {2}", "Corefile:3: auto: directory: '{2}' names group 2, and '(.*)' has 1"),
        ("directory d\nreload -1", "Corefile:4: auto: reload: '-1' is out of range: at least 0s"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_directive(lines: str, why: str) -> None:
    assert why == refused(f". {{\nauto {{\n{lines}\n}}\n}}\n")
