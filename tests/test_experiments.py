"""Rules that the presets of whole experiments state."""

import math

import numpy as np

from bench.analysis import collapse
from bench.protocols import compose_config


def test_one_seed_of_the_quick_experiment_has_an_interval_and_with_fewer_generations_it_would_not():
    num_generations = compose_config(["experiment=quick"]).num_generations
    noise = np.random.default_rng(0).lognormal(sigma=0.05, size=(2, num_generations))
    curve, reference = noise * (1 + np.array([[1.0], [0.0]]) * np.arange(num_generations))
    assert math.isfinite(collapse.growth([curve], [reference]).rise.high)
    assert math.isinf(collapse.growth([curve[:-1]], [reference[:-1]]).rise.high)
    assert collapse.classify(collapse.growth([curve], [reference])) == collapse.DIVERGING


def test_k_is_the_smallest_at_which_equal_distributions_cover_each_other_in_over_95_percent():
    k = compose_config(["experiment=quick"]).metrics.k
    assert 1 - 2.0**-k > 0.95 >= 1 - 2.0 ** -(k - 1)  # Naeem et al. 2020, of coverage
