import asyncio
import os
from pathlib import Path

import pytest

from kdns.core.files import read_octets, read_text, Reading, stamp, watch
from kdns.errors import FileError


def why(path: Path, most: int = 100) -> str:
    with pytest.raises(FileError) as caught:
        read_text(str(path), most)
    return str(caught.value).removeprefix(f"cannot read {path}: ")


def test_what_is_no_file_of_text_is_told(tmp_path: Path) -> None:
    fifo, large, latin = tmp_path / "fifo", tmp_path / "large", tmp_path / "latin"
    os.mkfifo(fifo)
    large.write_text("x" * 101)
    latin.write_bytes(b"\xff")
    assert "it is no regular file" == why(fifo)  # and nobody waits for a writer
    assert "it is no regular file" == why(Path("/dev/zero"))
    assert "it has 101 octets, more than 100" == why(large)
    assert "it is not UTF-8 text" == why(latin)
    assert "is a directory" == why(tmp_path)
    assert "no such file or directory" == why(tmp_path / "gone")


def test_what_is_refused_leaves_no_descriptor_open(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, fifo, tmp_path / "gone"):
        why(path)
    assert before == len(os.listdir("/proc/self/fd"))


def test_a_size_that_is_not_known_before_is_bounded(tmp_path: Path) -> None:
    """Files of /proc say that they have 0 octets."""
    assert b"Name:" in read_octets("/proc/self/status")
    assert "it has more than 5 octets" == why(Path("/proc/self/status"), 5)


def test_missing_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        read_text(str(tmp_path / "gone"))
    assert caught.value.missing


def test_a_change_that_keeps_size_and_time_is_one(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    for path, text in ((file, "one"), (other, "two")):
        path.write_text(text)
        os.utime(path, ns=(5, 5))
    before = stamp(str(file))
    other.replace(file)
    assert before != stamp(str(file))
    file.unlink()
    assert stamp(str(file)) is None


def test_who_watches_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a"

    async def run() -> list[str]:
        seen: list[str] = []
        told = asyncio.Event()

        def changed() -> None:
            seen.append(file.read_text() if file.exists() else "gone")
            told.set()

        watching = asyncio.ensure_future(watch(lambda: [str(file)], changed, 0.001))
        await asyncio.sleep(0.02)
        for text in ("one", "two"):
            (tmp_path / "new").write_text(text)
            (tmp_path / "new").replace(file)
            await asyncio.wait_for(told.wait(), 10)
            told.clear()
        file.unlink()
        await asyncio.wait_for(told.wait(), 10)
        watching.cancel()
        return seen

    assert ["one", "two", "gone"] == asyncio.run(run())


def test_reading_remembers(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    reading = Reading()
    assert "text" == reading.read(str(tmp_path / "a"))
    assert {str(tmp_path / "a"): "text"} == reading.texts
    assert [str(tmp_path / "a")] == reading.glob(str(tmp_path / "*"))
