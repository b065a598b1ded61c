"""Spread of the features of the subject, as Shumailov et al. (2305.17493) follow it for the μ of a VAE's encoder."""

from collections.abc import Iterator

import numpy as np

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features",)
COMPARISON = True
VERSION = 1
METRICS = ("spread", "spread_ratio")
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `spread`, the standard deviation of a feature over the items, averaged over the features, and
    `spread_ratio`, the spread of the subject divided by that of the reference, unless the latter is 0."""
    own, reference = (float(side.std(axis=0, dtype=np.float64, ddof=1).mean()) for side in _sides(inputs))
    yield Value("spread", own, "none")
    if reference > 0:
        yield Value("spread_ratio", own / reference, "none")


def _sides(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides in their canonical order, because the last bits of a sum depend on the order."""
    from bench.metrics.shared.checks import canonical_order

    return canonical_order(inputs.subject), canonical_order(inputs.reference)
