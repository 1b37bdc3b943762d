"""What the plugin *page* costs a cluster of 10,000 Services under load: `make bench-page`, five minutes.

First what each part of it takes of a core, without sockets. Then three take turns under full load, by the loader that keeps the
server busy: no page; a page that nobody has open; a page that is asked for its figures each second, as a browser does. What
counts is CPU-seconds of the server.

`--pictures FOLDER` takes the pictures of docs/page.md in its place, of a smaller cluster at an even rate (Debian: chromium,
chromium-driver, dnsperf, pngquant).
"""

import argparse
import asyncio
import itertools
import os
import random
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from pathlib import Path
from statistics import median, quantiles

from benchmarks import cluster
from benchmarks.load import Question, wire, write
from benchmarks.manifests import Figures, measure, show, SUFFIX
from benchmarks.servers import kdns, kubernetes, Server, server_block, share_cores, upstream
from kdns.core.behind import Request
from kdns.core.generation import Generation
from kdns.core.plugin import Kept
from kdns.dns.query import Address, Transport
from kdns.plugins.page import onlooker
from kdns.plugins.page.figures import EVERY, SHARE
from kdns.server.load import load
from kdns.testing.ports import free_port

SERVICES = 10_000
HERE = Address("127.0.0.1", 53)
ROUNDS = 12
SECONDS = 2.0  # of one load
CLOSED = 5.5  # seconds after which a page that nobody asks for is not looked for any more
OUTSIDE = ("api.example.com.", "cdn.images.example.com.", "registry.example.org.", "storage.example.net.")


def questions(services: int, count: int, chance: random.Random) -> list[Question]:
    """What Pods ask: some Services much, most of them seldom; names of the world outside through search lists."""
    out: list[Question] = []
    while len(out) < count:
        i = (int(chance.paretovariate(0.35)) - 1) % services
        service = f"service-{i:05}.{cluster.namespace(i)}.{SUFFIX}"
        if chance.random() < 0.75:
            out += [(service, "A"), (service, "AAAA")]
            continue
        namespace, name = cluster.namespace(min(39, int(chance.paretovariate(1)))), chance.choice(OUTSIDE)
        for suffix in (f"{namespace}.{SUFFIX}", SUFFIX, "cluster.local.", ""):
            out.append((name + suffix, "A"))
    return out


@contextmanager
def asked_each_second(port: int, path: str) -> Iterator[None]:
    """`/figures`: somebody has the page open, as in a browser. Another path costs the machine, and the server, as much HTTP."""
    end = threading.Event()

    def ask() -> None:
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
                assert reply.read()
            if end.wait(1.0):
                return

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        end.set()
        asking.join()


def served(stack: ExitStack, folder: Path, services: int, headless: int, *lines: str) -> Server:
    """kdns over a cluster of so many Services, with an upstream for all other names."""
    manifest = folder / f"cluster-{services}.json"
    if not manifest.exists():
        cluster.write_manifest(manifest, services, headless)
    far = stack.enter_context(upstream(folder, 4.0, 60))
    probe = f"service-00000.{cluster.namespace(0)}.{SUFFIX}"
    rest = [f"forward . 127.0.0.1:{far.port}", "cache 30", "loadbalance", "prometheus 127.0.0.1:0"]
    return stack.enter_context(kdns(folder, probe, *kubernetes(f"manifests {manifest}"), *rest, *lines))


def costs(folder: Path) -> None:
    """The rate with the page open, closed, and not there."""
    os.environ["PYTHONHASHSEED"] = "0"  # two processes alike
    share_cores()
    asked = write(folder / "questions", questions(SERVICES, 100_000, random.Random(14)))
    port = free_port()
    plain, closed, opened = Figures(), Figures(), Figures()
    unused, used = [], []
    with ExitStack() as stack:
        without = served(stack, folder, SERVICES, 1000)
        paged = served(stack, folder, SERVICES, 1000, f"page 127.0.0.1:{port}")
        for server in (without, paged):
            measure(server, asked, Figures(), 3.0, own=True)  # what is not in the memo yet
        kinds = {
            "plain": (without, plain, "/page.svg"), "closed": (paged, closed, "/page.svg"), "open": (paged, opened, "/figures"),
        }  # fmt: skip
        for turn in range(ROUNDS):
            rates = {}
            for kind in list(itertools.permutations(kinds))[turn % 6]:
                server, figures, path = kinds[kind]
                time.sleep(CLOSED)
                with asked_each_second(port, path):
                    rates[kind] = measure(server, asked, figures, SECONDS, own=True)
            used.append(1 - rates["open"] / rates["closed"])
            unused.append(1 - rates["closed"] / rates["plain"])
    plain.row("kdns without a page")
    closed.row("kdns with a page that nobody has open")
    opened.row("kdns with a page that somebody has open")
    for what, found in (("costs of a page that nobody has open", unused), ("costs of having it open", used)):
        quarters = quantiles(found, n=4)
        show(what, f"{median(found):.1%}", note=f"half of the rounds: {quarters[0]:.1%} to {quarters[2]:.1%}")


async def parts(folder: Path) -> None:
    """What an open page takes of a core, part by part, in CPU-seconds of this process: no sockets, whose cost would hide it."""
    manifest = cluster.write_manifest(folder / "parts.json", SERVICES, 0)
    generation = Generation()
    corefile = server_block(0, "page", "prometheus", *kubernetes(f"manifests {manifest}"), "loadbalance")
    load(corefile, generation=generation)
    await asyncio.gather(*(kept.start() for kept in list(generation.kept.values()) if isinstance(kept, Kept)))
    generation.begin()
    [page] = generation.blocks[0].named("page")
    await page.run()
    [listener] = generation.listeners.values()
    figures, request = generation.pages["localhost:8053"]["/figures"], Request({"Host": "localhost"}, {})
    replies = {}
    for asked in (wire(name, type, 1) for name, type in questions(SERVICES, 100_000, random.Random(14))):
        replies[asked] = await listener.reply(asked, HERE, HERE, Transport.UDP)
    every = [(asked, reply) for asked, reply in replies.items() if isinstance(reply, bytes)]
    looks, folds, answers = [], [], []
    for _ in range(ROUNDS):
        some = random.choices(every, k=round(1 / onlooker.EVERY))  # of a second
        for asked, _ in every:
            listener.replay(asked[2:], HERE, Transport.UDP)
        await figures(request)
        with taken(looks):
            for asked, reply in some:
                listener.look(asked, HERE, reply)
        with taken(folds):
            await generation.metrics.fold()
        await asyncio.sleep(2 * EVERY)
        with taken(answers):
            await figures(request)
    look, fold, answer = median(looks), median(folds), median(answers)
    share = look + 1 / SHARE + answer
    often = f"{len(some)} looks of {look / len(some) * 1e6:.1f} µs, figures of {answer * 1e3:.1f} ms"
    note = f"{often}, each {fold * SHARE:.1f} s a fold of {fold * 1e3:.0f} ms"
    show("of a core, what having it open takes", f"{share:.2%}", note=note)


@contextmanager
def taken(times: list[float]) -> Iterator[None]:
    """Add the CPU-seconds that something takes."""
    began = time.thread_time()
    yield
    times.append(time.thread_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdns-page-") as name:
        if given.pictures is None:
            asyncio.run(parts(Path(name)))
            costs(Path(name))
        else:
            pictures(Path(name), given.pictures)


# ---------------------------------------------------------------- pictures

LOOKS = {"desktop": (1280, 1180), "phone": (390, 1560)}  # width and height in CSS pixels


def pictures(folder: Path, into: Path) -> None:
    """The page at two widths, light and dark, after some seconds of load."""
    from tests.support.browser import Browser

    asked = write(folder / "questions", questions(60, 4000, random.Random(14)))
    port = free_port()
    with ExitStack() as stack:
        server = served(stack, folder, 60, 12, f"page 127.0.0.1:{port}")
        load = stack.enter_context(_even(server.port, asked))
        browser = stack.enter_context(Browser())
        browser.wear(*LOOKS["desktop"])
        browser.open(f"http://127.0.0.1:{port}/")
        browser.run("document.querySelector('#ask input').value = 'service-00003-49.service-00003.team-03.svc.cluster.local'")
        browser.run("document.querySelector('#ask button').click()")
        browser.run("const t = document.querySelector('#find input'); t.value = 'team-0'; t.form.oninput()")
        load.wait()
        for (look, size), scheme in itertools.product(LOOKS.items(), ("light", "dark")):
            browser.wear(*size, scheme)
            browser.run("window.scrollTo(0, 0)")
            path = into / f"{look}-{scheme}.png"
            browser.picture(path, *size)
            subprocess.run(["pngquant", "--force", "--strip", "--ext=.png", "64", str(path)], check=True)


@contextmanager
def _even(port: int, asked: Path) -> Iterator[threading.Event]:
    """A load of two thousand queries a second, more or less; the Event is set when it has been so for forty seconds."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(asked), "-Q", "2000", "-l", "600"]
    loading = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    enough = threading.Event()
    timer = threading.Timer(40, enough.set)
    timer.start()
    try:
        yield enough
    finally:
        timer.cancel()
        loading.terminate()
        loading.wait()


if __name__ == "__main__":
    main()
