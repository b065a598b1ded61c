"""Class survival: which kinds of pictures are still made, generation by generation, rare ones last."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bench.analysis.study import Condition, Study
from bench.report.style import PAGE, save, styled

MOST_CLASSES = 40


def attributes(study: Study) -> list[str]:
    """The labelled attributes that class survival was computed for."""
    found = {
        entry["parameters"].get("attribute", ""): None
        for row in study.rows()
        for entry in row.scores
        if _is_survival(entry)
    }
    return list(found)


def shares(study: Study, condition: Condition, attribute: str) -> tuple[list[str], np.ndarray]:
    """Class names, commonest first, and float (classes, generations): images found over images expected, mean over
    seeds; NaN where a generation is not there."""
    expected: dict[str, float] = {}
    found: dict[tuple[str, int], list[float]] = {}
    for chain in study.chains[condition].values():
        for row in chain.rows:
            for entry in row.scores:
                if _is_survival(entry) and entry["parameters"].get("attribute", "") == attribute:
                    for name, (count, wanted) in entry["counts"].items():
                        if wanted > 0:
                            expected.setdefault(name, wanted)
                            found.setdefault((name, row.generation), []).append(count / wanted)
    names = sorted(expected, key=lambda name: (-expected[name], name))
    table = [[float(np.mean(found.get((name, g), [np.nan]))) for g in study.generations] for name in names]
    return names, np.array(table).reshape(len(names), len(study.generations))


def _is_survival(entry: dict) -> bool:
    return entry["metric"] == "class_survival" and entry["subject"] == "samples" and "counts" in entry


def survival(study: Study, out: Path, name: str) -> list[Path]:
    """One figure per attribute, one panel per condition: dark where a class is made as often as among real images, pale
    where it has died. Of very many classes the commonest and the rarest are shown."""
    written = []
    found = attributes(study)
    for attribute in found:
        panels = [(condition, *shares(study, condition, attribute)) for condition in study.conditions]
        panels = [panel for panel in panels if panel[1]]
        if panels:
            written += _figure(study, panels, attribute, out, name if len(found) == 1 else f"{name}_{attribute}")
    return written


def _figure(study: Study, panels: list, attribute: str, out: Path, name: str) -> list[Path]:
    names = panels[0][1]
    rows = np.arange(len(names))
    if len(names) > MOST_CLASSES:
        rows = np.r_[: MOST_CLASSES // 2, len(names) - MOST_CLASSES // 2 : len(names)]
    with styled():
        height = 0.75 + 0.16 * len(rows)
        figure, axes = plt.subplots(1, len(panels), figsize=(PAGE, height), squeeze=False, sharey=True)
        for axis, (condition, _, table) in zip(axes[0], panels, strict=True):
            image = axis.imshow(np.clip(table[rows], 0, 1.5), cmap="YlGnBu", vmin=0, vmax=1.5, aspect="auto")
            axis.grid(False)
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
            axis.set_xticks(range(len(study.generations)), [str(g) for g in study.generations])
            axis.set_title(condition.label, pad=4)
            axis.set_xlabel("generation")
        axes[0, 0].set_yticks(range(len(rows)), [names[i] for i in rows], fontsize=6.5)
        axes[0, 0].set_ylabel(f"{attribute or 'class'}, rarest below")
        bar = figure.colorbar(image, ax=axes[0].tolist(), pad=0.015, aspect=22, ticks=[0, 0.5, 1, 1.5])
        bar.ax.set_yticklabels(["0", "½", "1", "≥ 1½"])
        bar.set_label("images found / expected")
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        return save(figure, out, name)
