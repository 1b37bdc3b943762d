"""Broken clusters: what `dig` shows of each, and the sentence of `kdns explain`, of a server that runs.

Each file in clusters/ is a manifest that can be served as it is. Its head has the question, what is special in the Corefile
(`options` of kubernetes, other `plugins`, or a `corefile` of its own), and what is expected: the answer as dig's +short or the
code, the extended error as dig shows it, and the sentence. {upstream} is a server for which nothing exists, {silent} one that
says nothing, {port} kdns's own port.
"""

import asyncio
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdns import cli
from kdns.testing.upstream import answer, Asked, FakeUpstream, Step
from tests.support.running import serving

CASES = sorted((Path(__file__).parent / "clusters").glob("*.yaml"))
COREFILE = """.:0 {{
    bind 127.0.0.1
    admin {admin}
    kubernetes cluster.local in-addr.arpa {{
        manifests {file}
        {options}
    }}
    {plugins}
}}
"""


def head(text: str) -> dict[str, str]:
    """The words of a case by their names; what goes on in the next lines is further to the right."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("#     "):
            found[name] += line[6:] + "\n"
        else:
            name, _, found[name] = line[2:].partition(": ")
    return {name.rstrip(":"): value for name, value in found.items()}


def nothing_exists(asked: Asked) -> Sequence[Step]:
    soa = "example.com. 60 IN SOA ns.example.com. me.example.com. 1 60 60 60 60"
    return [answer(asked, rcode="NXDOMAIN", authority=[soa])]


@contextmanager
def silent() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


async def dug(port: int, name: str, type: str) -> tuple[str, str]:
    """The answer and the extended error, as dig prints them."""
    words = ["dig", "@127.0.0.1", "-p", str(port), name, type, "+tries=1", "+time=5"]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    text = (await process.communicate())[0].decode()
    (code,) = re.findall(r"status: (\w+)", text) or [text]
    records = [line.split()[3:] for line in text.partition("ANSWER SECTION:")[2].partition("\n\n")[0].splitlines()[1:]]
    (error,) = re.findall(r"^; EDE: (.*)$", text, re.MULTILINE) or ["none"]
    every = [*([] if code == "NOERROR" else [code]), *map(" ".join, records)]
    return ", ".join(every) or "NODATA", error


async def judged(case: dict[str, str], path: Path, folder: Path, free_port: int) -> tuple[tuple[str, str], dict[str, str]]:
    """What dig says, after kdns explain has printed its own; and what stood in for the words in braces."""
    name, type = case["question"].split()
    async with FakeUpstream(nothing_exists) as upstream:
        with silent() as mute:
            stand_ins = {"upstream": f"127.0.0.1:{upstream.port}", "silent": mute, "port": str(free_port)}
            text = case.get("corefile", COREFILE.format(**{"options": "", "plugins": "", **case}, file=path, admin="{admin}"))
            async with serving(filled(text, {**stand_ins, "admin": str(folder / "s")})) as server:
                for _ in range(500):  # a loop is looked for in the background
                    if all(plugin.remarks() for plugin in server.generation.blocks[0].named("loop")):
                        break
                    await asyncio.sleep(0.01)
                found = await dug(server.generation.port or free_port, name, type)
                await asyncio.to_thread(cli.main, ["explain", name, type, "--socket", str(folder / "s")])
            return found, stand_ins


def filled(text: str, stand_ins: dict[str, str]) -> str:
    for word, value in stand_ins.items():
        text = text.replace(f"{{{word}}}", value)
    return text


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is missing: install bind9-dnsutils")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_why(path: Path, tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    case = head(path.read_text())
    (answer, error), stand_ins = asyncio.run(judged(case, path, tmp_path, free_port))
    expected = {word: filled(case[word], stand_ins) for word in ("answer", "error", "sentence")}
    sentence = capsys.readouterr().out.splitlines()[0]
    assert expected == {"answer": answer, "error": error, "sentence": sentence}


def test_there_are_thirty_at_least() -> None:
    assert len(CASES) >= 30
