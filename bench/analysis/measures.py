"""Measures: the identity of a score, with everything that decides whether two values of it may be compared."""

import json
import math
from dataclasses import dataclass
from typing import Any

from bench.analysis.plain_text import plain

MAIN_METRICS = ("fid", "kid", "fid_infinity", "coverage", "precision", "recall", "excess_risk", "perplexity")
"""The scores that are shown first. FID is never shown alone, because its bias depends on the model. Coverage comes
before recall, which is uninformative off the manifold. Scores that need no feature space follow, if they exist."""
NAMES = {
    "fid": "FID",
    "fid_infinity": "FID∞",
    "kid": "KID",
    "mauve": "MAUVE",
    "vendi": "Vendi score",
    "vendi_distance": "Vendi distance",
    "zipf_exponent": "Zipf exponent",
    "zipf_distance": "Zipf distance",
    "sample_perplexity": "perplexity of the samples",
    "rare_survival": "rare words that survive",
    **{f"distinct_{n}": f"distinct-{n}" for n in range(1, 5)},
}
SHARES = ("coverage", "precision", "recall")
"""Scores that are shares of the items of one side."""
ARROWS = {"up": "↑", "down": "↓", "none": ""}


@dataclass(frozen=True)
class Measure:
    """One score, described so exactly that two values of it may be compared.

    parameters: the parameters of the score, as JSON with sorted keys.
    direction: `up` if higher is better, `down` if lower is better, `none` if the score only describes.
    """

    metric: str
    feature_space: str
    reference: str
    num_subject: int
    num_reference: int
    parameters: str
    direction: str

    @property
    def arrow(self) -> str:
        return ARROWS[self.direction]

    @property
    def name(self) -> str:
        """The score's name and the direction in which it is better, if there is one."""
        return f"{metric_name(self.metric)} {self.arrow}".rstrip()

    @property
    def attribute(self) -> str | None:
        """The labelled attribute that the score refers to; None for scores without labels."""
        name = json.loads(self.parameters).get("attribute")
        return None if name is None else plain(name)

    @property
    def sizes(self) -> str:
        """N on both sides, and the parameters, as they are printed."""
        n = f"N = {self.num_subject}"
        if self.num_reference != self.num_subject:
            n += f" against {self.num_reference}"
        given = json.loads(self.parameters)
        return ", ".join([n, *(f"{name} = {plain(str(value))}" for name, value in given.items())])


def measure_of(score: dict[str, Any]) -> Measure:
    """Return the measure of a ledger's score."""
    return Measure(
        metric=score["metric"],
        feature_space=score["feature_space"],
        reference=score["reference"],
        num_subject=score["num_subject"],
        num_reference=score["num_reference"],
        parameters=json.dumps(score["parameters"], sort_keys=True),
        direction=score["direction"],
    )


def possible(metric: str) -> tuple[float, float]:
    """Return the lowest and the highest value that a score can have; infinite where that is not known."""
    return 0.0 if metric in (*SHARES, "fid") else -math.inf, 1.0 if metric in SHARES else math.inf


def metric_name(metric: str) -> str:
    """Return the name of a metric as it is printed."""
    return NAMES.get(metric, plain(metric.replace("_", " ")))
