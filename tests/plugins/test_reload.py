import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from kdns.core.generation import Generation
from kdns.plugins.reload import content_hash, read_files, Reload
from kdns.server.load import load
from kdns.server.run import Server
from tests.support.configured import in_block, refused


class Reloading:
    """An generation made from a file, that counts how often it was to be reloaded."""

    def __init__(self, corefile: Path, can: bool = True) -> None:
        self.can = can
        self.asked = 0
        self.generation = Generation()
        self.generation.corefile = str(corefile)
        self.generation.files = read_files(str(corefile))
        self.generation.reloads = self.reload
        self.plugin = reload_of(load(in_block("reload"), "in memory", generation=self.generation))
        self.plugin.served = self.plugin._seen = content_hash(read_files(str(corefile)))

    async def reload(self) -> bool:
        self.asked += 1
        return self.can

    def look(self) -> int:
        """How often it was asked for, after another look."""
        asyncio.run(self.plugin.look())
        return self.asked


def reload_of(generation: Generation) -> Reload:
    plugin = generation.blocks[0].named("reload")[0]
    assert isinstance(plugin, Reload)
    return plugin


def test_content_counts(tmp_path: Path) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text("a")
    scene = Reloading(corefile)
    asked = [scene.look()]
    os.utime(corefile, (1, 1))
    asked.append(scene.look())
    for text in ("b", "b", "a", "a", "c"):
        corefile.write_text(text)
        asked.append(scene.look())
    assert [0, 0, 1, 1, 1, 1, 2] == asked


def test_a_bad_one_is_tried_once(tmp_path: Path) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text("a")
    scene = Reloading(corefile, can=False)
    counts = []
    for text in ("b", "b", "a", "c", "c"):
        corefile.write_text(text)
        counts.append(scene.look())
    assert [1, 1, 1, 2, 2] == counts


def test_a_configmap_is_swapped(tmp_path: Path) -> None:
    """The kubelet writes a new folder, and swaps the symlink that leads to it."""
    for name, text in (("..1", "a"), ("..2", "b"), ("..3", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Corefile").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "Corefile").symlink_to("..data/Corefile")
    scene = Reloading(tmp_path / "Corefile")
    asked = [scene.look()]
    for name in ("..2", "..3"):
        (tmp_path / "..tmp").symlink_to(name)
        os.replace(tmp_path / "..tmp", tmp_path / "..data")
        asked.append(scene.look())
    assert [0, 1, 1] == asked


def test_what_is_imported_counts(tmp_path: Path) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text(". {\nimport one\nimport conf.d/*.conf\n}\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "one").write_text("whoami\n")
    scene = Reloading(corefile)
    asked = [scene.look()]
    for name, text in (("one", "log\n"), ("conf.d/a.conf", "errors\n"), ("conf.d/a.txt", "errors\n"), ("two", "whoami\n")):
        (tmp_path / name).write_text(text)
        asked.append(scene.look())
    (tmp_path / "one").unlink()
    asked.append(scene.look())
    assert [0, 1, 2, 2, 2, 3] == asked


@pytest.mark.parametrize("text", [b"\xff\xfe", None])
def test_a_corefile_that_cannot_be_read_just_now(
    tmp_path: Path, text: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text("a")
    scene = Reloading(corefile)
    corefile.unlink()
    if text is not None:
        corefile.write_bytes(text)
    assert (0, ["WARNING"]) == (scene.look(), [record.levelname for record in caplog.records])


def test_what_is_read_at_a_start_is_what_is_looked_at(tmp_path: Path) -> None:
    corefile = tmp_path / "Corefile"
    (tmp_path / "one").write_text("whoami\n")
    corefile.write_text(". {\nreload\nimport one\n}\n")
    generation = load(corefile.read_text(), str(corefile))
    assert read_files(str(corefile)) == generation.files


def test_the_hash() -> None:
    octets = b"".join(len(part).to_bytes(8, "big") + part for part in (b"a", b"1", b"b", b"2"))
    assert hashlib.sha512(octets).hexdigest() == content_hash({"b": "2", "a": "1"})
    assert content_hash({"a": "1b2"}) != content_hash({"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("line", "low", "high"),
    [
        ("reload", 22.5, 37.5),
        ("reload 10s", 7.5, 12.5),
        ("reload 10s 2s", 9, 11),
        ("reload 2s 0s", 2, 2),
        ("reload 60s 20s", 50, 70),
    ],
)
def test_the_interval(line: str, low: float, high: float) -> None:
    found = []
    for _ in range(50):
        plugin = load(in_block(line)).blocks[0].named("reload")[0]
        assert isinstance(plugin, Reload)
        found.append(plugin.interval)
    assert all(low <= interval <= high for interval in found)
    assert (low == high) == (len(set(found)) == 1)


def test_there_is_one_in_a_corefile() -> None:
    generation = load("a. {\nreload off\n}\nb. {\nreload 5s 0s\n}\nc. {\nreload 9s 0s\n}\n")
    plugins = [plugin for block in generation.blocks for plugin in block.named("reload")]
    assert [0.0, 5.0, 9.0] == [plugin.interval for plugin in plugins if isinstance(plugin, Reload)]
    for plugin in plugins[::2]:  # one that is off, and one that is not the first
        asyncio.run(asyncio.wait_for(plugin.run(), 1))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("reload 1s", "Corefile:2: reload: '1s' is out of range: at least 2s"),
        ("reload 5s 500ms", "Corefile:2: reload: '500ms' is too short: a jitter is 0s or at least 1s"),
        ("reload 5s -2s", "Corefile:2: reload: '-2s' is out of range: at least 0s"),
        ("reload soon", "Corefile:2: reload: 'soon' is not a duration such as 5s, 1m30s or 500ms"),
        ("reload 5s 1s 1s", "Corefile:2: reload: takes 0 to 2 arguments, has 3"),
        ("reload {\noff\n}", "Corefile:2: reload: takes no block"),
        ("reload\nreload", "Corefile:3: reload: may stand only once in a server block, and stands at Corefile:2"),
    ],
)
def test_what_it_refuses(lines: str, expected: str) -> None:
    assert expected == refused(in_block(lines))


def test_a_server_takes_up_what_is_new(tmp_path: Path, free_port: int, caplog: pytest.LogCaptureFixture) -> None:
    corefile = tmp_path / "Corefile"

    def write(lines: str) -> None:
        corefile.write_text(f". {{\nbind 127.0.0.1\nreload\n{lines}\n}}\n")

    async def some() -> list[tuple[list[str], float]]:
        write("cache 30\nwhoami")
        server = Server(corefile.read_text(), str(corefile), free_port)
        await server.start()
        out = []
        try:
            for lines in ("cache 30\nwhoami", "cach 30", "cach 30", "cache 60\nwhoami", "whoami"):
                write(lines)
                plugin = server.generation.blocks[0].named("reload")[0]
                assert isinstance(plugin, Reload)
                await plugin.look()
                names = [name for name, _ in server.generation.blocks[0].plugins]
                out.append((names, server.failed_reloads))
            await server.request_reload()
            write("cach 30")
            await server.request_reload()
            out.append(([], server.failed_reloads))
        finally:
            hurry = asyncio.Event()
            hurry.set()
            await server.stop(hurry)
        return out

    both = ["reload", "bind", "cache", "whoami"]
    expected = [(both, 0), (both, 1), (both, 1), (both, 1), (["reload", "bind", "whoami"], 1), ([], 2)]
    assert expected == asyncio.run(some())
    failures = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(failures) == 2
    assert f"{corefile}:4: unknown plugin 'cach', did you mean 'cache'?" in failures[0]


def test_without_a_file_there_is_nothing_to_look_after() -> None:
    plugin = reload_of(load(in_block("reload")))
    asyncio.run(asyncio.wait_for(plugin.run(), 1))
    served = {"hash": "sha512", "value": plugin.served}
    assert 1 == plugin.block.metrics.registry().get_sample_value("coredns_reload_version_info", served)
