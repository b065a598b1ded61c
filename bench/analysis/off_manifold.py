"""Where recall is uninformative: samples off the manifold of real items spread out, and their balls cover real items.

A thin sheet of real items that the model buries in noise has recall 1 with precision and coverage 0. Recall is
therefore greyed if most samples lie off the manifold, by the rule below.
"""

from dataclasses import replace

from bench.analysis.cells import cell
from bench.analysis.conditions import Condition
from bench.analysis.measures import Measure
from bench.analysis.study import Study

LEAST = 0.5
"""Share of the floor's precision below which recall is greyed."""


def least_precision(study: Study, measure: Measure) -> float | None:
    """Return the precision below which this recall is greyed: half the floor's, or half of 1 if there is no floor.

    None for every other score, and if precision was not computed with the same reference, N and k.
    """
    precision = _precision(measure)
    if measure.metric != "recall" or precision not in study.measures("precision"):
        return None
    floor = study.floor(precision)
    return LEAST * (1.0 if floor is None else floor)


def is_greyed(study: Study, condition: Condition, generation: int, measure: Measure) -> bool:
    """Return whether the mean precision over seeds of the same samples is too low for this recall to be informative."""
    least = least_precision(study, measure)
    found = cell(study.values(condition, generation, _precision(measure)).values())
    return least is not None and found is not None and found.mean < least


def reason(study: Study, measure: Measure) -> str:
    """Return the footnote that states the rule below a table with greyed cells."""
    least = least_precision(study, measure)
    assert least is not None
    return (
        f"in brackets: recall says nothing where precision is below {least:.2f}, {LEAST:.0%} of the floor's "
        "(most samples lie off the manifold)"
    )


def _precision(measure: Measure) -> Measure:
    return replace(measure, metric="precision")
