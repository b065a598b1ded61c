"""Class survival: for each class of a labelled attribute, how often it is still generated."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.analysis.conditions import Condition
from bench.analysis.measures import Measure, measure_of
from bench.analysis.plain_text import plain
from bench.analysis.study import Study


@dataclass(frozen=True)
class Shares:
    """How often each class is still generated, as a share of what is expected.

    classes: names of the classes, the most common first. expected: the expected number of images of each class.
    table: float (classes, generations), number of images / expected number, mean over seeds; NaN where a generation is
        missing.
    """

    classes: list[str]
    expected: list[float]
    table: np.ndarray


def class_shares(study: Study) -> dict[str, dict[Condition, Shares]]:
    """Return attribute -> condition -> shares, for the attributes for which class survival was computed.

    Classes that were never expected are left out, and so are conditions without any class.
    """
    shares: dict[str, dict[Condition, Shares]] = {}
    for attribute in _attributes(study):
        by_condition = {c: _shares(study, c, attribute) for c in study.conditions}
        shares[attribute] = {c: part for c, part in by_condition.items() if part.classes}
    return {attribute: by_condition for attribute, by_condition in shares.items() if by_condition}


def measure_by(study: Study, attribute: str) -> Measure:
    """Return the measure whose counts the shares of an attribute are computed from; it states feature space and N."""
    every = (score for row in study.rows for score in row.scores if _is_survival(score))
    return measure_of(next(score for score in every if _attribute(score) == attribute))


def refusal(study: Study, attribute: str) -> str | None:
    """Return why class survival by an attribute was refused, or None. If it was, a share near 0 does not show that a
    class is dead."""
    every = (score for row in study.rows for score in row.scores if _is_survival(score))
    reasons = (s.get("refused", {}).get("class_survival") for s in every if _attribute(s) == attribute)
    return next((reason for reason in reasons if reason), None)


def _attributes(study: Study) -> list[str]:
    return list(dict.fromkeys(_attribute(s) for row in study.rows for s in row.scores if _is_survival(s)))


def _shares(study: Study, condition: Condition, attribute: str) -> Shares:
    expected: dict[str, float] = {}
    ratios: dict[tuple[str, int], list[float]] = {}
    for chain in study.chains[condition].values():
        for row in chain.rows:
            for score in row.scores:
                if _is_survival(score) and _attribute(score) == attribute:
                    for name, (count, expected_count, *_) in score["counts"].items():
                        if expected_count > 0:
                            expected.setdefault(name, expected_count)
                            ratios.setdefault((name, row.generation), []).append(count / expected_count)
    names = sorted(expected, key=lambda name: (-expected[name], name))
    table = [[float(np.mean(ratios.get((name, g), [np.nan]))) for g in study.generations] for name in names]
    return Shares(
        names, [expected[name] for name in names], np.array(table).reshape(len(names), len(study.generations))
    )


def _attribute(score: dict[str, Any]) -> str:
    return plain(score["parameters"].get("attribute", ""))


def _is_survival(score: dict[str, Any]) -> bool:
    return score["subject"] == "samples" and "counts" in score
