"""How much memory this process may have: what its control group allows (version 2, or 1), else what the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path

LEAST, MOST = 24 << 20, 256 << 20  # octets of all memos


def budget(allowed: int) -> int:
    """Octets that the memos may have together: a quarter of what is allowed, within bounds."""
    return min(max(allowed // 4, LEAST), MOST)


def allowed(root: Path = Path("/")) -> int:
    """Octets that this process may have; `root` is where /proc and /sys are."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """The limits of the control group and of those above it: each of them holds."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):  # not Linux
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts) + 1):
            try:
                text = top.joinpath(*parts[:depth], name).read_text().strip()
            except (OSError, ValueError):  # a container sees its own group as the top
                continue
            if text.isdigit():  # else "max"
                yield int(text)
