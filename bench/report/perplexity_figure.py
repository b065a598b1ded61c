"""The figure of the perplexity of each generation's samples under generation 0 (figure 1 of Shumailov et al. 2024)."""

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from bench.analysis.conditions import Condition
from bench.analysis.study import Study
from bench.report.panels import Panels
from bench.report.style import FLOOR, caption, save, styled

MOST_LINES = 6
"""Largest number of generations that are drawn; of more, the first, the last and some between are drawn."""

Histogram = dict[str, list[float]]


def perplexity_histograms(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one panel per condition: the share of samples by perplexity under generation 0, one line per generation, and
    that of held-out text. All seeds are pooled. Nothing is drawn if no row has this histogram.
    """
    found = {c: by_generation for c in study.conditions if (by_generation := _histograms(study, c))}
    if not found:
        return []
    known = sorted({generation for by_generation in found.values() for generation in by_generation})
    shown = [known[i] for i in sorted({round(i) for i in np.linspace(0, len(known) - 1, MOST_LINES)})]
    shades = matplotlib.colormaps["plasma"]
    colour = {g: shades(0.12 + 0.7 * g / max(1, known[-1])) for g in shown}
    with styled():
        panels = Panels(study, list(found), height=1.6)
        for axis, condition in panels:
            by_generation = found[condition]
            for generation in (g for g in shown if g in by_generation):
                _steps(axis, by_generation[generation], "samples", color=colour[generation])
            _steps(axis, by_generation[min(by_generation)], "heldout", color=FLOOR, linestyle=(0, (2, 1)))
        low, high = _range([h for by_generation in found.values() for h in by_generation.values()])
        first = panels.axes[0, 0]
        first.set_xscale("log")
        first.set_xlim(low, high)
        first.set_xticks([2.0**e for e in _ticks(low, high)])
        first.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        first.xaxis.set_minor_locator(NullLocator())
        first.xaxis.set_minor_formatter(NullFormatter())
        first.set_ylim(bottom=0)
        panels.finish("perplexity", "share of items")
        lines = [Line2D([], [], color=colour[g], label=f"generation {g}") for g in shown]
        lines += [Line2D([], [], color=FLOOR, linestyle=(0, (2, 1)), label="held-out text")]
        panels.legend(lines, panels.num_columns + 1)
        caption(panels.figure, "samples of every generation, judged by the model of generation 0 · all seeds together")
        return save(panels.figure, out, name)


def _histograms(study: Study, condition: Condition) -> dict[int, Histogram]:
    """Return generation -> the pooled histogram of all seeds: `edges`, and the counts `samples` and `heldout`."""
    found: dict[int, list[Histogram]] = {}
    for chain in study.chains[condition].values():
        for row in chain.rows:
            for score in row.scores:
                if score["metric"] == "sample_perplexity" and "histogram" in score:
                    found.setdefault(row.generation, []).append(score["histogram"])
    return {generation: _added(parts) for generation, parts in found.items()}


def _added(parts: list[Histogram]) -> Histogram:
    """Return the sum of histograms whose edges are contiguous parts of one sequence."""
    edges = sorted({edge for part in parts for edge in part["edges"]})
    together: dict[str, Any] = {"edges": edges}
    for name in ("samples", "heldout"):
        counts = np.zeros(len(edges) - 1)
        for part in parts:
            first = edges.index(part["edges"][0])
            counts[first : first + len(part[name])] += part[name]
        together[name] = counts.tolist()
    return together


def _steps(axis: Any, histogram: Histogram, name: str, **style: Any) -> None:
    counts = np.array(histogram[name])
    axis.stairs(counts / max(1, counts.sum()), histogram["edges"], linewidth=1.0, **style)


def _range(histograms: list[Histogram]) -> tuple[float, float]:
    return min(h["edges"][0] for h in histograms), max(h["edges"][-1] for h in histograms)


def _ticks(low: float, high: float) -> range:
    """Return about four exponents of 2 between two perplexities."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    return range(first, last + 1, max(1, math.ceil((last - first) / 4)))
