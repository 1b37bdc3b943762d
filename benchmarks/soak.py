"""Five million queries over 200,000 external names through *cache* and *forward*: `python -m benchmarks.soak`, some minutes.

Memory must reach a level and stay there, every query must have its reply, and once the load is over and idle sockets have
been closed, there must be no more tasks and open files than before. Exit status 1 where one of these does not hold.

The server says what it holds through SIGUSR2, which only this program of its own (`serve`) knows.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import load, Loaded, loader, write
from benchmarks.servers import corefile, Server, upstream
from kdns.testing.ports import free_port

NAMES = 200_000
QUERIES = 5_000_000
GROWTH = 1.1  # of the level that memory has after a quarter of the queries
IDLE = 13.0  # seconds: sockets to upstreams are closed after 10


class Held(NamedTuple):
    """What the server holds."""

    rss: float  # MB
    tasks: int
    files: int  # open, sockets among them


def held(server: Server) -> Held:
    """Ask the server what it holds."""
    said = server.log.stat().st_size
    os.kill(server.pid, signal.SIGUSR2)
    for _ in range(500):
        time.sleep(0.01)
        line = server.log.read_bytes()[said:].decode().rpartition("\n")[0].rpartition("\n")[2]
        if line.startswith("{"):
            return Held(server.rss(), **json.loads(line))
    raise RuntimeError(f"the server does not say what it holds: see {server.log}")


def faults(before: Held, levels: list[float], after: Held, lost: int, failed: int) -> list[str]:
    """What is wrong, a line each."""
    out = [f"{count} queries {what}" for count, what in ((lost, "lost"), (failed, "failed")) if count]
    base = levels[len(levels) // 4]
    if levels[-1] > GROWTH * base:
        out.append(f"memory grew from {base:.0f} to {levels[-1]:.0f} MB")
    for what in ("tasks", "files"):
        if getattr(after, what) > getattr(before, what):
            out.append(f"{getattr(after, what) - getattr(before, what)} {what} were left behind")
    return out


def soak(folder: Path, queries: int) -> list[str]:
    """The whole of it; what is wrong."""
    names = write(folder / "names", [(f"host-{n}.zone-{n % 997}.test.", "A") for n in range(NAMES)])
    with upstream(folder, 0.0, 60) as far:
        port = free_port()
        conf = corefile(folder, port, f"forward . 127.0.0.1:{far.port}", "cache 30", "loadbalance", "prometheus 127.0.0.1:0")
        command = [sys.executable, "-m", "benchmarks.soak", "--serve", str(conf)]
        with Server(command, folder, port, "ready.test") as server:
            time.sleep(IDLE)
            before, levels, total = held(server), list[float](), Loaded(0, 0, 0)
            print(f"before: {before.rss:.1f} MB, {before.tasks} tasks, {before.files} open files", flush=True)
            while total.answered + total.lost < queries:
                began = server.cpu()
                loaded = load(port, names)
                total = Loaded(*(sum(pair) for pair in zip(total, loaded, strict=True)))
                levels.append(server.rss())
                rate = loaded.answered / (server.cpu() - began)
                print(f"{total.answered:>9,} answered, {total.lost} lost, {total.failed} failed: {levels[-1]:.1f} MB, "
                      f"{rate:,.0f} q per CPU-second", flush=True)  # fmt: skip
            time.sleep(IDLE)
            after = held(server)
            print(f"after: {after.rss:.1f} MB, {after.tasks} tasks, {after.files} open files", flush=True)
    return faults(before, levels, after, total.lost, total.failed)


# ---------------------------------------------------------------- the server


def serve(conf: Path) -> None:
    """kdns, and a line of what it holds for each SIGUSR2."""
    from kdns.server import run

    text = conf.read_text()

    async def main() -> None:
        own = asyncio.current_task()

        def say() -> None:
            gc.collect()
            tasks = [task for task in asyncio.all_tasks() if task is not own]
            print(json.dumps({"tasks": len(tasks), "files": len(os.listdir("/proc/self/fd"))}), flush=True)

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, say)
        await run.serve(text, str(conf))

    asyncio.run(main())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--queries", type=int, default=QUERIES)
    arguments.add_argument("--serve", type=Path, metavar="COREFILE", help="be the server")
    given = arguments.parse_args()
    if given.serve:
        return serve(given.serve)
    print(f"{given.queries:,} queries over {NAMES:,} names; loader: {loader()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kdns-soak-") as name:
        wrong = soak(Path(name), given.queries)
    print("\n".join(wrong) or "nothing is amiss")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
