"""Zones in files: answers through a server block, changes of files, and what is wrong with them."""

import asyncio
from pathlib import Path

import pytest

from kdns.core.generation import Generation
from kdns.dns.response import Response, RRset
from kdns.dns.types import A
from kdns.plugins.file import File
from tests.support.configured import answers, ask, generation_of, refused
from tests.support.zone_files import asked, write


def corefile(path: Path, more: str = "", zones: str = "example.org", outside: str = "") -> str:
    return f"example.org {{\nfile {path} {zones} {{\n{more}\n}}\n{outside}\n}}\n"


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        ("web.example.org", "A", ["AA", "192.0.2.20", "192.0.2.21"]),
        ("WWW.example.org", "A", ["AA", "web.example.org.", "192.0.2.20", "192.0.2.21"]),
        ("example.org", "MX", ["AA", "10 mail.example.org."]),
        ("some.apps.example.org", "A", ["AA", "192.0.2.30"]),
        ("x.legacy.example.org", "A", ["AA", "apps.example.org.", "x.apps.example.org.", "192.0.2.30"]),
        ("x.labs.example.org", "A", []),
        ("nothing.example.org", "A", ["NXDOMAIN", "AA"]),
        ("_udp.example.org", "A", ["AA"]),
        ("example.net", "A", ["REFUSED"]),
    ],
)
def test_the_zone_file_that_users_start_from(name: str, type: str, expected: list[str]) -> None:
    generation = generation_of(". {\nfile zones/db.example.org example.org\n}\n")
    for _ in range(2):  # the second time from the memo, where it keeps it
        assert expected == asked(generation, name, type)


def test_one_file_for_several_zones() -> None:
    generation = generation_of(". {\nfile zones/db.shared example.org example.net\n}\n")
    assert [["AA", "192.0.2.80"]] * 2 == [asked(generation, f"www.{zone}") for zone in ("example.org", "example.net")]


def test_the_longest_zone_of_several_files_answers(tmp_path: Path) -> None:
    write(tmp_path / "above", "a.sub A 192.0.2.1\nb A 192.0.2.3\n")
    write(tmp_path / "below", "a A 192.0.2.2\n")
    for first, second in (("above", "below"), ("below", "above")):
        zone = {"above": "example.org", "below": "sub.example.org"}
        lines = [f"file {tmp_path / file} {zone[file]}" for file in (first, second)]
        generation = generation_of(". {\n" + "\n".join(lines) + "\n}\n")
        assert ["AA", "192.0.2.2"] == asked(generation, "a.sub.example.org")
        assert ["AA", "192.0.2.3"] == asked(generation, "b.example.org")


def test_a_relative_path_starts_at_the_root(tmp_path: Path) -> None:
    write(tmp_path / "db", "a A 192.0.2.1\n")
    assert ["AA", "192.0.2.1"] == asked(generation_of(f"example.org {{\nroot {tmp_path}\nfile db\n}}\n"), "a.example.org")


def test_aliases_that_lead_out_are_followed_through_the_server(tmp_path: Path) -> None:
    write(tmp_path / "db", "out CNAME www.example.net.\nsub CNAME x.deleg\ndeleg NS ns.deleg\nnobody CNAME example.com.\n")
    generation = generation_of(
        f". {{\nfile {tmp_path / 'db'} example.org\n}}\nexample.net {{\nfile zones/db.shared\n}}\n"
        "deleg.example.org {\nfile zones/db.shared\n}\n"
    )
    assert ["AA", "www.example.net.", "192.0.2.80"] == asked(generation, "out.example.org")
    assert ["NXDOMAIN", "AA", "x.deleg.example.org."] == asked(generation, "sub.example.org")
    assert ["AA", "example.com."] == asked(generation, "nobody.example.org")


OTHER = Response(answer=(RRset("x.example.org.", A, 60, (b"\x0a\0\0\1",)),), stable_for=60)


@pytest.mark.parametrize(
    ("option", "name", "expected"),
    [
        ("", "nothing.example.org", ["NXDOMAIN", "AA"]),
        ("fallthrough", "nothing.example.org", ["AA", "10.0.0.1"]),
        ("fallthrough", "a.example.org", ["AA", "192.0.2.1"]),
        ("fallthrough", "alias.example.org", ["NXDOMAIN", "AA", "gone.example.org."]),
        ("fallthrough other.org", "nothing.example.org", ["NXDOMAIN", "AA"]),
        ("fallthrough in.example.org", "nothing.in.example.org", ["AA", "10.0.0.1"]),
        ("fallthrough", "in.example.org", ["AA"]),
    ],
)
def test_what_does_not_exist_falls_through(tmp_path: Path, option: str, name: str, expected: list[str]) -> None:
    write(tmp_path / "db", "a A 192.0.2.1\nalias CNAME gone\nb.in A 192.0.2.1\n")
    assert expected == asked(generation_of(corefile(tmp_path / "db", option), OTHER), name)


def plugin_of(generation: Generation) -> File:
    plugin = generation.blocks[0].named("file")[0]
    assert isinstance(plugin, File)
    return plugin


async def looked(generation: Generation) -> None:
    """As if it were time to look at the files."""
    await plugin_of(generation).look()


@pytest.mark.parametrize(
    ("options", "records", "serial", "expected", "remark"),
    [
        ("", "a A 192.0.2.2\n", 2, "192.0.2.2", ""),
        ("", "a A 192.0.2.2\n", 1, "192.0.2.1", ""),
        ("reload_by_mtime", "a A 192.0.2.2\n", 1, "192.0.2.2", ""),
        ("", "a A nonsense\n", 2, "192.0.2.1", "db:4: A: 'nonsense' is not an IP address"),
        ("", None, 0, "192.0.2.1", "no such file or directory"),
    ],
)
def test_a_changed_file_is_taken_up(
    tmp_path: Path, options: str, records: str | None, serial: int, expected: str, remark: str
) -> None:
    path = tmp_path / "db"
    write(path, "a A 192.0.2.1\n")
    generation = generation_of(corefile(path, options))
    assert ["AA", "192.0.2.1"] == asked(generation, "a.example.org")  # the memo has it
    if records is None:
        path.unlink()
    else:
        write(path, records, serial)
    asyncio.run(looked(generation))
    assert ["AA", expected] == asked(generation, "a.example.org")
    (*remarks,) = plugin_of(generation).remarks()
    assert bool(remark) == bool(remarks) and all(remark in each for each in remarks)


def test_a_change_of_an_included_file_is_taken_up(tmp_path: Path) -> None:
    write(tmp_path / "db", "$INCLUDE more\n")
    (tmp_path / "more").write_text("a A 192.0.2.1\n")
    generation = generation_of(corefile(tmp_path / "db", "reload_by_mtime"))
    (tmp_path / "more").write_text("a A 192.0.2.22\n")
    asyncio.run(looked(generation))
    assert ["AA", "192.0.2.22"] == asked(generation, "a.example.org")


def test_a_file_that_is_not_there_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "db"
    generation = generation_of(corefile(path))
    assert ["SERVFAIL"] == asked(generation, "a.example.org")
    assert [f"example.org. cannot be served: cannot read {path}: no such file or directory"] == plugin_of(generation).remarks()
    write(path, "a A 192.0.2.1\n")
    asyncio.run(looked(generation))
    assert (["AA", "192.0.2.1"], []) == (asked(generation, "a.example.org"), plugin_of(generation).remarks())


def test_a_version_whose_reader_was_cancelled_is_not_lost(tmp_path: Path) -> None:
    write(tmp_path / "db", "a A 192.0.2.1\n")
    generation = generation_of(corefile(tmp_path / "db"))
    write(tmp_path / "db", "a A 192.0.2.2\n", 2)
    plugin_of(generation)._files[0].look()  # by a generation that ends before it can take it
    asyncio.run(looked(generation))
    assert ["AA", "192.0.2.2"] == asked(generation, "a.example.org")


def test_a_reload_of_the_corefile_reads_no_file_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write(path, "a A 192.0.2.1\n")
    first = generation_of(corefile(path))
    path.write_text("nonsense")
    second = Generation(first)
    from kdns.server.load import load

    load(corefile(path, outside="whoami"), generation=second)
    asyncio.run(first.close(second.kept.values()))
    assert ["AA", "192.0.2.1"] == asked(second, "a.example.org")
    write(path, "a A 192.0.2.2\n", 2)
    asyncio.run(looked(second))
    assert ["AA", "192.0.2.2"] == asked(second, "a.example.org")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("@ SOA ns host 1 2 3 4\n", "Corefile:2: file: {path}:1: SOA: 'ns host 1 2 3 4' is not rdata of its type: "),
        ("$TTL 5\n@ SOA n h 1 2 3 4 5\n$GENERATE 1-2 a$ A 10.0.0.$\n",
         "Corefile:2: file: {path}:3: $GENERATE is not served: write its records out"),
        ("a 5 A 192.0.2.1\n", "Corefile:2: file: {path}: has no SOA record at example.org."),
        ("$ORIGIN example.net.\n@ 5 SOA n h 1 2 3 4 5\n", "Corefile:2: file: {path}: has no SOA record at example.org."),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_served_keeps_the_server_from_starting(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "db"
    path.write_text(text)
    assert refused(corefile(path)).startswith(why.format(path=path))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("file", "Corefile:2: file: takes at least 1 argument, has none"),
        ("file none {\nreload 0\n}", "Corefile:2: file: cannot read none: no such file or directory"),
        ("file zones/db.shared a:x", "Corefile:2: file: 'x' is not a port, in 'a:x'"),
        ("file zones/db.shared {\nreload\n}", "Corefile:3: file: reload: takes 1 argument, has none"),
        ("file zones/db.shared {\nrelaod 5s\n}", "Corefile:3: file: unknown option 'relaod', did you mean 'reload'?"),
        ("file zones", "Corefile:2: file: cannot read zones: is a directory"),
    ],
)
def test_what_is_wrong_with_the_directive(line: str, why: str) -> None:
    assert why == refused(f"example.org {{\n{line}\n}}\n")


@pytest.mark.parametrize("directive", ["file {folder}/db.example.org example.org", "auto example.org"])
def test_files_are_looked_at_as_often_as_reload_says(tmp_path: Path, directive: str) -> None:
    write(tmp_path / "db.example.org", "a A 192.0.2.1\n")
    lines = "reload 20ms" if directive.startswith("file") else f"directory {tmp_path}\nreload 20ms"
    corefile = f". {{\n{directive.format(folder=tmp_path)} {{\n{lines}\n}}\n}}\n"

    async def run() -> None:
        async with asyncio.timeout(10):
            generation = generation_of(corefile)
            tasks = [asyncio.create_task(plugin.run()) for _, plugin in generation.blocks[0].plugins]
            for n in (2, 3):
                write(tmp_path / "db.example.org", f"a A 192.0.2.{n}\n", serial=n)
                while answers(await ask(generation, "a.example.org")) != [f"192.0.2.{n}"]:  # noqa: ASYNC110 - it looks, too
                    await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
