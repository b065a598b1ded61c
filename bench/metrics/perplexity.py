"""Perplexity of held-out text under the model of each generation, and of the samples of the model under that of
generation 0."""

from collections.abc import Iterator

import numpy as np

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("model", "items", "first_model")
KINDS = ("tokens",)
VERSION = 1
METRICS = ("perplexity", "sample_perplexity", "improbable_share", "probable_share")
CITATION = {
    "sample_perplexity": """@article{shumailov2024collapse,
  title   = {{AI} Models Collapse When Trained on Recursively Generated Data},
  author  = {Shumailov, Ilia and Shumaylov, Zakhar and Zhao, Yiren and Papernot, Nicolas and Anderson, Ross and
             Gal, Yarin},
  journal = {Nature},
  volume  = {631},
  pages   = {755--759},
  year    = {2024},
}""",
}
TAIL = 0.01
"""Share of held-out items on each side of the distribution that count as improbable and as probable."""
BINS_PER_DOUBLING = 4
"""Number of bins of the histogram per doubling of the perplexity. The bins are the same for every generation and chain,
so that histograms can be added and compared."""


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `perplexity`, of held-out items under the model of the subject; `sample_perplexity`, of the subject under
    the model of generation 0, with a histogram over the items; and `improbable_share` and `probable_share`, the shares
    of the subject that are less, and more, probable under that model than all but `TAIL` of the held-out items."""
    assert inputs.items is not None and inputs.model is not None and inputs.first_model is not None
    subject, heldout = inputs.items
    truth = inputs.true_risk
    known = {} if truth is None else {"true_perplexity": float(np.exp(np.mean(truth(heldout))))}
    yield Value("perplexity", float(np.exp(np.mean(inputs.model(heldout)["total"]))), "down", extra=known)
    own, real = (inputs.first_model(side)["total"] for side in (subject, heldout))
    extra = {"histogram": histogram({"samples": own, "heldout": real})}
    yield Value("sample_perplexity", float(np.exp(np.mean(own))), "none", extra=extra)
    probable, improbable = np.quantile(real, [TAIL, 1 - TAIL])
    yield Value("improbable_share", float(np.mean(own > improbable)), "none", {"tail": TAIL})
    yield Value("probable_share", float(np.mean(own < probable)), "none", {"tail": TAIL})


def histogram(losses: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Return a histogram of the perplexities of items, with `BINS_PER_DOUBLING` bins per doubling.

    Args:
        losses: Name -> the loss of each item in nats per token, float64 (N,).

    Returns:
        `edges`, B + 1 perplexities, and B counts under each name.
    """
    doublings = {name: BINS_PER_DOUBLING * values / np.log(2) for name, values in losses.items()}
    every = np.concatenate(list(doublings.values()))
    bins = np.arange(np.floor(every.min()), np.floor(every.max()) + 2)
    counts = {name: np.histogram(values, bins)[0].tolist() for name, values in doublings.items()}
    return {"edges": [round(2 ** (b / BINS_PER_DOUBLING), 4) for b in bins.tolist()], **counts}
