"""Spread of the mean colours of images, which samplers lose first (docs/protocols.md, "What the sampler loses")."""

from collections.abc import Iterator

import numpy as np

from bench.kinds import Items
from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("items",)
KINDS = ("images",)
VERSION = 1
METRICS = ("mean_colour_spread", "mean_colour_spread_ratio")
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `mean_colour_spread`, the standard deviation over the images of their mean in each channel, averaged over
    the channels, in grey levels; and `mean_colour_spread_ratio`, its ratio to that of the reference, unless the latter
    is 0."""
    assert inputs.items is not None
    own, reference = (float(_mean_colours(side).std(axis=0, ddof=1).mean()) for side in inputs.items)
    yield Value("mean_colour_spread", own, "none")
    if reference > 0:
        yield Value("mean_colour_spread_ratio", own / reference, "none")


def _mean_colours(images: Items) -> np.ndarray:
    """Return the mean colours, float64 (N, 3), of uint8 (N, 3, H, H) images, sorted so that no sum depends on the order
    of the images."""
    means = np.asarray(images).mean(axis=(2, 3), dtype=np.float64)
    return means[np.lexsort(means.T)]
