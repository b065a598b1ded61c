"""Rules that the presets of whole experiments state."""

import math

import numpy as np
from shrunk import TINY, composed

from bench.analysis import collapse
from bench.ledger import read_runs
from bench.loop import run_chain
from bench.machine.console import Console
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


def test_the_vae_experiment_compares_ratios_and_runs_shrunk(tmp_path):
    small = [o for o in TINY if not o.startswith(("generator.unet", "generator.sampling", "metrics="))]
    overrides = ["experiment=vae16", *small, "num_generations=2", f"output_dir={tmp_path}"]
    chains = [
        read_runs([run_chain(composed(*overrides, f"mixing.synthetic_ratio={ratio}"), Console(quiet=True))])[0]
        for ratio in (0, 0.5, 1)
    ]
    assert len({chain.rows[0].artifacts["model"] for chain in chains}) == 1, "the ratios share generation 0"
    assert [chain.rows[1].composition["synthetic_ratio"] for chain in chains] == [0, 0.5, 1]
    for chain in chains:
        assert {row.generator for row in chain.rows} == {"vae"}
        assert {"fid", "coverage", "risk"} <= {score["metric"] for score in chain.rows[1].scores}
