"""Risk: the loss of the model on items that it was not trained on, its excess over the loss of the true distribution,
and how much lower it is on items that the model was trained on."""

from collections.abc import Iterator

import numpy as np

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("model", "items", "training")
VERSION = 1
METRICS = ("risk", "excess_risk", "risk_gap")
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `risk` and `risk_gap`, in total and for every part of the loss, and `excess_risk`.

    `risk` is the loss on held-out items. `risk_gap`, only if there is a twin of the training set, is the loss on its
    unseen items minus the loss on its trained-on items. `excess_risk`, only if the true distribution is known, is the
    risk minus the loss of the true distribution on the same items. It estimates the Kullback–Leibler divergence of the
    model from the true distribution with less variance than the risk itself.
    """
    assert inputs.items is not None and inputs.model is not None
    heldout = inputs.items[1]
    found = inputs.model(heldout)
    for part, losses in found.items():
        yield Value("risk", float(np.mean(losses)), "down", _parameters(part))
    if inputs.true_risk is not None:
        truth = inputs.true_risk(heldout)
        excess = float(np.mean(found["total"] - truth))
        yield Value("excess_risk", excess, "down", extra={"true_risk": float(np.mean(truth))})
    if inputs.twin_items is not None:
        size = min(len(heldout), len(inputs.twin_items[0]))
        rng = np.random.default_rng(0)
        trained_on, unseen = (
            inputs.model(side[np.sort(rng.permutation(len(side))[:size])]) for side in inputs.twin_items
        )
        for part, losses in unseen.items():
            gap = float(np.mean(losses) - np.mean(trained_on[part]))
            yield Value("risk_gap", gap, "down", _parameters(part), {"num_training": size})


def _parameters(part: str) -> dict[str, str]:
    return {} if part == "total" else {"part": part}
