"""The memory that a process may have: control groups of both versions, and none."""

import os
from pathlib import Path

import pytest

from kdns.server.memory import allowed, budget

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("what", "files", "expected"),
    [
        ("no control groups", {}, MACHINE),
        ("version 2 in a container", {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "178257920\n"}, 170 << 20),
        ("no limit", {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, MACHINE),
        (
            "a group above has less",
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/b/memory.max": "2000\n"},
            1000,
        ),
        (
            "version 1",
            {"proc/self/cgroup": "3:cpu:/x\n2:memory:/k\n0::/\n", "sys/fs/cgroup/memory/k/memory.limit_in_bytes": "5000\n"},
            5000,
        ),
        (
            "version 1, a group that is not to be seen",
            {"proc/self/cgroup": "2:memory:/far\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "6000\n"},
            6000,
        ),
        ("version 1 without a limit",
         {"proc/self/cgroup": "2:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ("nonsense", {"proc/self/cgroup": "x\n0::/../..\n", "sys/fs/cgroup/memory.max": "-1\n"}, MACHINE),
    ],
)  # fmt: skip
def test_what_is_allowed(what: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert expected == allowed(tmp_path)


@pytest.mark.parametrize(("megabytes", "expected"), [(1, 24), (96, 24), (170, 42.5), (1024, 256), (1 << 20, 256)])
def test_the_budget_is_a_quarter_within_bounds(megabytes: int, expected: float) -> None:
    assert expected * (1 << 20) == budget(megabytes << 20)
