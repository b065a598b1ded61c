"""The figure of network and data sizes: the change of each size from its own ratio 0, one panel per quantity."""

import math
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.analysis.sizes import ITEMS, Sizes, sizes, unit_of
from bench.analysis.study import Study
from bench.report.ranking_figure import with_unit
from bench.report.style import FLOOR, PAGE, caption, save, styled

COLOUR = "#1b6ca8"


def figure_name(number: int) -> str:
    """Return the name of the figure of the comparison with this number, counted from 0."""
    return "sizes" + (f"_{number + 1}" if number else "")


def draw_sizes(study: Study, every: Iterable[Study], out: Path, prefix: str = "") -> list[Path]:
    """Draw one figure for each comparison of sizes that a study is the first member of.

    Args:
        study: The study to draw.
        every: All available studies.
        out: The directory to write to.
        prefix: The beginning of the files' names.
    """
    return [
        path
        for number, found in enumerate(sizes(study, every))
        if found.quantities
        for path in _figure(found, out, f"{prefix}{figure_name(number)}")
    ]


def _figure(found: Sizes, out: Path, name: str) -> list[Path]:
    with styled():
        figure, axes = plt.subplots(1, len(found.quantities), figsize=(PAGE, 2.1), squeeze=False)
        for axis, quantity in zip(axes[0], found.quantities, strict=True):
            _panel(axis, found, quantity)
        figure.tight_layout(w_pad=1.5)
        seeds = sorted({len(size.study.chains[size.condition]) for size in found.of.values()})
        pairs = f"{with_unit(found.arm)} against ratio 0 in pairs of {' or '.join(map(str, seeds))} seeds"
        caption(
            figure,
            f"sizes of {found.what} · {pairs}",
            "mean of the second half of the generations · bars: 95 % intervals over seeds",
        )
        return save(figure, out, name)


def _panel(axis: Axes, found: Sizes, quantity: str) -> None:
    changes = {x: size.change(quantity) for x, size in found.of.items()}
    known = {x: change for x, change in changes.items() if change is not None}
    means = [100 * change.value for change in known.values()]
    halves = [100 * (c.high - c.value) if math.isfinite(c.high) else 0.0 for c in known.values()]
    axis.axhline(0, color=FLOOR, linewidth=0.9, zorder=1)
    axis.errorbar(
        list(known), means, halves, color=COLOUR, marker="o", markersize=4, linewidth=1.2, capsize=2, zorder=2
    )
    axis.set_xscale("log", base=2)
    axis.set_xticks(list(known), [_short(x) for x in known])
    axis.minorticks_off()
    axis.margins(x=0.1, y=0.12)
    axis.set_xlabel("real items" if found.what == ITEMS else "parameters")
    axis.set_ylabel(f"{quantity}, {unit_of(quantity)}")


def _short(x: int) -> str:
    """Return `41 k` for 40 779 and `2.5 M` for 2 530 371; numbers below 10 000 are unchanged."""
    if x < 10_000:
        return str(x)
    return f"{x / 1e3:.0f} k" if x < 1e6 else f"{x / 1e6:.1f} M"
