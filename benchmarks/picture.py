"""The picture of a benchmark: a row a load, a mark a server, at its median, with a line from its least to its most."""

from pathlib import Path
from statistics import median

import matplotlib
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, LogLocator

MARKS = {  # the servers that are drawn: colour and shape, so that either tells them apart
    "kdns": ("#1b6ac9", "o"), "compiled": ("#0b3c7d", "D"), "CoreDNS": ("#d1495b", "s"), "CoreDNS, cache": ("#e8958b", "s"),
    "NSD": ("#5a8f3d", "^"), "Knot": ("#9ab973", "v"), "unbound": ("#8a8a8a", "P"), "echo": ("#222222", "x"),
}  # fmt: skip
LABELS = {
    "kdns": "kdns, as source", "compiled": "kdns, compiled", "CoreDNS, cache": "CoreDNS, its cache on",
    "echo": "the kernel's limit",
}  # fmt: skip


def draw(rates: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw rates (by load and server, one a round) as an SVG."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "kdns", "font.family": "sans-serif", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(8.4, 0.34 * len(rates) + 1.3), layout="constrained")
    axes.set_axisbelow(True)
    axes.grid(axis="x", which="major", color="#dddddd")
    axes.grid(axis="y", color="#f0f0f0")
    for what, (colour, mark) in MARKS.items():
        rows = [(row, by_server[what]) for row, by_server in enumerate(rates.values()) if what in by_server]
        if rows:
            height = [row for row, _ in rows]
            axes.hlines(height, [min(of) for _, of in rows], [max(of) for _, of in rows], color=colour, linewidth=1)
            at = [median(of) for _, of in rows]
            axes.plot(at, height, mark, color=colour, markersize=5, label=LABELS.get(what, what))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate / 1000:g}k"))
    axes.set_yticks(range(len(rates)), list(rates))
    axes.invert_yaxis()
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("queries per CPU-second of the server, logarithmic; more is better")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
