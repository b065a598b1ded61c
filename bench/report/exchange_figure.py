"""The figure of exchange rates: scores of real images alone, and how many real images one synthetic image is worth."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from bench.analysis.cells import cell
from bench.analysis.exchange_rate import LOGGED, Estimate, Exchange, exchanges
from bench.analysis.plain_text import number
from bench.analysis.study import Study
from bench.report.style import FLOOR, INK, PAGE, legend, line_style, note, save, styled


def exchange_rate(study: Study, out: Path, name: str) -> list[Path]:
    """Draw one figure per score: scores against the number of real images, and worth against the generation."""
    written = []
    for exchange in exchanges(study):
        if exchange.rates:
            suffix = "" if exchange.measure.metric == "fid" else f"_{exchange.measure.metric}"
            written += _figure(study, exchange, out, name + suffix)
    return written


def _figure(study: Study, exchange: Exchange, out: Path, name: str) -> list[Path]:
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.7))
        _doses(left, study, exchange)
        _worth(right, study, exchange)
        figure.tight_layout(w_pad=1.5)
        legend(figure, study, right.get_legend_handles_labels(), per_row=8)
        items = study.kind.items
        marks = (
            f"left: ○ real {items} in the training set, filled: as many real {items} alone reach the same score · "
            "bars: 95 % intervals over seeds · arrows: beyond the sizes that were run; not drawn: not determined"
        )
        note(figure, [exchange.measure], marks)
        return save(figure, out, name)


def _doses(axis: Axes, study: Study, exchange: Exchange) -> None:
    """Draw the scores of real images alone, and at each condition's score the number of real images that reach it, if
    it is determined."""
    sizes = list(exchange.real_only)
    cells = [cell(by_seed.values()) for by_seed in exchange.real_only.values()]
    means = [c.mean for c in cells if c]
    halves = [c.half_width or 0.0 for c in cells if c]
    axis.errorbar(sizes, means, halves, color=FLOOR, linewidth=1.2, elinewidth=0.8, capsize=2, zorder=1)
    axis.annotate(
        f"real {study.kind.items} alone", (sizes[0], means[0]), xytext=(6, 4), textcoords="offset points", size=6.5
    )
    for rate in exchange.last():
        style = line_style(study, rate.condition)
        colour = {"color": style["color"], "zorder": 3}
        if rate.equivalent.is_determined:
            _bar(axis, rate.score, rate.equivalent, horizontal=True, **colour)
            _mark(axis, rate.score, rate.equivalent, style["marker"], horizontal=True, **colour)
        if rate.num_real:
            equal = _shown(rate.equivalent) if rate.equivalent.is_determined else rate.num_real
            axis.plot([rate.num_real, equal], [rate.score] * 2, linewidth=0.7, linestyle=":", **colour)
            axis.plot(rate.num_real, rate.score, "o", markerfacecolor="white", markersize=3.5, **colour)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(_apart(sizes)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.minorticks_off()
    if exchange.measure.metric in LOGGED:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(MaxNLocator(5))
        axis.yaxis.set_major_formatter(lambda value, _: number(value, 4))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(f"real {study.kind.items} in the training set")
    axis.set_ylabel(exchange.measure.name)


def _apart(sizes: list[int], factor: float = 1.4) -> list[int]:
    """Return the sizes whose labels do not overlap, in descending order; each is smaller by `factor` or more."""
    kept: list[int] = []
    for size in reversed(sizes):
        if not kept or size * factor <= kept[-1]:
            kept.append(size)
    return kept


def _worth(axis: Axes, study: Study, exchange: Exchange) -> None:
    """Draw the worth of one synthetic image against the generation, where it is determined."""
    by_condition = {
        rate.condition: [r for r in exchange.rates if r.condition == rate.condition] for rate in exchange.rates
    }
    for i, (condition, rates) in enumerate(by_condition.items()):
        style = line_style(study, condition)
        shift = 0.08 * (i - (len(by_condition) - 1) / 2)
        x = [rate.generation + shift for rate in rates]
        known = [
            (at, rate.worth.value)
            for at, rate in zip(x, rates, strict=True)
            if rate.worth.value is not None and rate.worth.is_determined
        ]
        (line,) = axis.plot([at for at, _ in known], [v for _, v in known], zorder=3, **style)
        line.set_in_layout(bool(known))  # a line without points lies at the corner of the figure
        for at, rate in zip(x, rates, strict=True):
            if not rate.worth.is_determined:
                continue
            _bar(axis, at, rate.worth, horizontal=False, color=style["color"], zorder=2)
            if rate.worth.value is None:
                _mark(axis, at, rate.worth, style["marker"], horizontal=False, color=style["color"], zorder=3)
    for level, words in ((0.0, "below: harm"), (1.0, "as good as real")):
        axis.axhline(level, color=FLOOR, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axis.annotate(
            words,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, -2 if level == 0 else 2),
            textcoords="offset points",
            ha="right",
            va="top" if level == 0 else "bottom",
            size=6.5,
            color=INK,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6},
            zorder=4,
        )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(y=0.12)
    axis.set_xlabel("generation")
    axis.set_ylabel(f"real {study.kind.items} that one\nsynthetic {study.kind.item} is worth")


def _bar(axis: Axes, at: float, estimate: Estimate, horizontal: bool, color: tuple, zorder: float) -> None:
    """Draw an interval; an end beyond the range is an arrow at the end of the range.

    Args:
        axis: The panel to draw on.
        at: The position on the other axis.
        estimate: The estimate whose interval to draw.
        horizontal: Whether the interval lies along x.
        color: The colour.
        zorder: The drawing order of Matplotlib; higher values are in front.
    """
    low = estimate.least if estimate.low is None else estimate.low
    high = estimate.most if estimate.high is None else estimate.high
    (axis.hlines if horizontal else axis.vlines)(at, low, high, color=color, linewidth=0.9, zorder=zorder)
    for end, is_open, sign in ((low, estimate.low is None, "<v"), (high, estimate.high is None, ">^")):
        if is_open:
            where = (end, at) if horizontal else (at, end)
            axis.plot(*where, marker=sign[0 if horizontal else 1], color=color, markersize=4, zorder=zorder)


def _mark(
    axis: Axes, at: float, estimate: Estimate, marker: str, horizontal: bool, color: tuple, zorder: float
) -> None:
    """Draw a value; one beyond the range is drawn at the end of the range.

    Args:
        axis: The panel to draw on.
        at: The position on the other axis.
        estimate: The estimate whose value to draw.
        marker: The marker of the value.
        horizontal: Whether values lie along x.
        color: The colour.
        zorder: The drawing order of Matplotlib; higher values are in front.
    """
    value = _shown(estimate)
    where = (value, at) if horizontal else (at, value)
    axis.plot(*where, marker=marker, color=color, markersize=4.5, zorder=zorder)


def _shown(estimate: Estimate) -> float:
    end = estimate.least if estimate.side == "below" else estimate.most
    return end if estimate.value is None else estimate.value
