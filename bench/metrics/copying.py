"""Whether samples copy the training set: they are compared with it and with held-out images."""

from collections.abc import Iterator

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features", "training")
VERSION = 4
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield distances to the nearest training and held-out items, and rates of copies."""
    from bench.metrics.shared.nearest_training import copying_scores

    assert inputs.training is not None
    result = copying_scores(*inputs.points, inputs.training, device=inputs.device)
    compared, whole = {"num_training": result.num_compared}, {"num_training": len(inputs.training)}
    yield Value("nn_distance_training", result.nn_distance_training, "down", extra=compared)
    yield Value("nn_distance_heldout", result.nn_distance_heldout, "down", extra=compared)
    yield Value("closer_to_training", result.closer_to_training, "down", extra=compared)
    yield Value("authenticity", result.authenticity, "up", extra=whole)
    yield Value("near_copy_rate", result.near_copy_rate, "down", extra=whole)
