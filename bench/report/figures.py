"""All figures of a study. The page shows their SVG files."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bench.analysis.study import Study
from bench.report.curves import Curves, curves
from bench.report.detection_figure import detection
from bench.report.exchange_figure import exchange_rate
from bench.report.losses import losses
from bench.report.oracle_map import FIGURE as MAP
from bench.report.oracle_map import draw_map
from bench.report.overview import final_scores, phase_diagram, trajectories
from bench.report.perplexity_figure import perplexity_histograms
from bench.report.profile_figure import collapse_profile
from bench.report.ranking_figure import draw_rankings
from bench.report.sizes_figure import draw_sizes
from bench.report.strip import strip
from bench.report.survival import survival
from bench.report.training_sets import training_sets
from bench.report.vetting_figure import contamination, detector_curves

MOST_MISSING = 5


@dataclass(frozen=True)
class Figures:
    """The files of each figure; [] if a figure would have nothing to show. missing: What could not be drawn."""

    curves: list[Curves]
    final: list[Path]
    phase: list[Path]
    trajectories: list[Path]
    profile: list[Path]
    exchange: list[Path]
    ranking: list[Path]
    sizes: list[Path]
    survival: list[Path]
    training_sets: list[Path]
    losses: list[Path]
    perplexity: list[Path]
    detection: list[Path]
    oracle_map: list[Path]
    detectors: list[Path]
    contamination: list[Path]
    samples: list[Path]
    missing: list[str]

    @property
    def paths(self) -> list[Path]:
        return [
            *chain.from_iterable(figure.paths for figure in self.curves),
            *(*self.final, *self.phase, *self.trajectories, *self.profile, *self.exchange, *self.ranking, *self.sizes),
            *(*self.survival, *self.training_sets, *self.losses, *self.perplexity, *self.detection),
            *(*self.oracle_map, *self.detectors, *self.contamination, *self.samples),
        ]


def draw(study: Study, every: list[Study], out: Path, prefix: str = "") -> Figures:
    """Draw every figure of a study.

    Args:
        study: The study to draw.
        every: All available studies, because some statements compare several.
        out: The directory to write to.
        prefix: The beginning of every file's name.
    """
    samples, missing = strip(study, out, f"{prefix}samples")
    return Figures(
        curves=curves(study, out, f"{prefix}scores"),
        final=final_scores(study, out, f"{prefix}final"),
        phase=phase_diagram(study, out, f"{prefix}phase"),
        trajectories=trajectories(study, out, f"{prefix}trajectories"),
        profile=collapse_profile(study, every, out, f"{prefix}profile"),
        exchange=exchange_rate(study, out, f"{prefix}exchange_rate"),
        ranking=draw_rankings(study, out, prefix),
        sizes=draw_sizes(study, every, out, prefix),
        survival=survival(study, out, f"{prefix}survival"),
        training_sets=training_sets(study, out, f"{prefix}training_sets"),
        losses=losses(study, out, f"{prefix}losses"),
        perplexity=perplexity_histograms(study, out, f"{prefix}perplexity"),
        detection=detection(study, out, f"{prefix}detection"),
        oracle_map=draw_map(study, out, f"{prefix}{MAP}"),
        detectors=detector_curves(study, out, f"{prefix}detectors"),
        contamination=contamination(study, out, f"{prefix}contamination"),
        samples=samples,
        missing=_shortened(missing),
    )


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= MOST_MISSING:
        return lines
    return [*lines[:MOST_MISSING], f"… and {len(lines) - MOST_MISSING} more"]
