"""The tables of cases and of differences, as they are read."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
COREFILES = FOLDER.parent / "corefiles"


@dataclass(frozen=True)
class Difference:
    """What kdns does in another way on purpose."""

    plugin: str  # whose manual says so; "" for the server itself, of which docs/from-coredns.md tells
    says: str  # words of the manual's section Differences, or of the document
    why: str


@dataclass(frozen=True)
class Case:
    name: str
    corefile: str
    asks: list[str] = field(default_factory=list)  # see questions.py; `~ NAME` at the end: it differs, as differences.toml says
    files: dict[str, str] = field(default_factory=dict)  # beside the Corefile, and in place of /etc/coredns
    environment: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)  # of both programs
    until: str = ""  # a question that is asked until it has an answer, before the others
    starts: str = "both"  # or who does: "none", "kdns ~ NAME" or "coredns ~ NAME", NAME a difference; the others refuse it
    logs: str = ""  # a regular expression: what it finds in the two logs is compared, too
    log_differs: str = ""  # the name of a difference between these
    ages: bool = False  # TTLs count down: they are compared by tens of seconds
    certificate: bool = False  # cert.pem and key.pem are there, of the name dns.example
    cluster: bool = False  # the objects of cluster.yaml are there, in a real API server

    @property
    def runs(self) -> tuple[str, ...]:
        """Which of the two servers start."""
        word = self.starts.partition("~")[0].strip()
        return {"both": ("coredns", "kdns"), "none": ()}.get(word, (word,))

    @property
    def differences(self) -> list[str]:
        """The names of those that it has."""
        found = [text.partition("~")[2].strip() for text in (*self.asks, self.starts, f"~{self.log_differs}")]
        return [name for name in found if name]


def cases() -> Iterator[tuple[str, Case]]:
    """All cases, each with the name of its table; Corefiles of real clusters among them."""
    real = _read(FOLDER / "real.toml")
    for name, given in json.loads((COREFILES / "questions.json").read_text()).items():
        corefile, differ = (COREFILES / name).read_text(), real.get(name, {})
        cluster = "kubernetes" in corefile
        asks = [" ".join([owner, type, *cls]) for owner, type, _, *cls in given["asks"]]
        until = "kubernetes.default.svc.cluster.local A" if cluster else ""
        asks = [f"{text} ~ {differ[text]}" if text in differ else text for text in asks]
        starts = f"kdns ~ {differ['starts']}" if "starts" in differ else "both"
        files = given.get("files", {})
        yield "real", Case(name, corefile, asks if starts == "both" else [], files, until=until, starts=starts, cluster=cluster)
    for path in sorted((FOLDER / "cases").glob("*.toml")):
        for table in _read(path)["case"]:
            yield path.stem, Case(**table)


def differences() -> dict[str, Difference]:
    return {name: Difference(**table) for name, table in _read(FOLDER / "differences.toml").items()}


def _read(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return tomllib.load(file)
