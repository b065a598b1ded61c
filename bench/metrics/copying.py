"""Copying: samples are compared with the training set of their model and with its unseen twin."""

from collections.abc import Iterator

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features", "training")
VERSION = 5
METRICS = ("nn_distance_training", "nn_distance_heldout", "authenticity", "closer_to_training", "near_copy_rate")
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield the distances to the nearest training and held-out items, `authenticity`, and the rates of copies if there
    is a twin."""
    from bench.metrics.shared.nearest_training import copying_scores

    assert inputs.training is not None
    result = copying_scores(*inputs.points, inputs.training, twin=inputs.twin, device=inputs.device)
    compared, whole = {"num_training": result.num_compared}, {"num_training": len(inputs.training)}
    yield Value("nn_distance_training", result.nn_distance_training, "down", extra=compared)
    yield Value("nn_distance_heldout", result.nn_distance_heldout, "down", extra=compared)
    yield Value("authenticity", result.authenticity, "up", extra=whole)
    if result.closer_to_training is not None and result.near_copy_rate is not None:
        twin = {"num_training": result.num_twin}
        yield Value("closer_to_training", result.closer_to_training, "down", extra=twin)
        yield Value("near_copy_rate", result.near_copy_rate, "down", extra=twin)
