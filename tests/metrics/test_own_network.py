"""The space of generation 0's own network: which model describes what, and where there is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from shrunk import TINY, composed

from bench import generators, preflight
from bench.errors import ConfigError, MetricError
from bench.features.shared import extraction
from bench.generators import vae
from bench.ledger import Row, read_runs
from bench.loop import run_chain
from bench.machine.console import Console
from bench.machine.device import Runtime
from bench.pool import Pool
from bench.score_sets import score

RUNTIME = Runtime(torch.device("cpu"), torch.bfloat16, compile=False)


def overrides(out: Path) -> list[str]:
    kept = [o for o in TINY if not o.startswith(("generator.", "metrics="))]
    return [
        *kept,
        "metrics=own_network",
        "generator=vae",
        "generator.latent_size=4",
        "generator.channels=[32,64]",
        "generator.training.num_steps=20",
        "metrics.scores=[frechet,copying]",
        "metrics.references=[heldout,real_train,training]",
        f"output_dir={out}",
        f"store_dir={out}/store",
    ]


def run(out: Path, *more: str) -> list[Row]:
    directory = run_chain(composed(*overrides(out), *more), Console(quiet=True))
    (chain,) = read_runs([directory])
    return chain.rows


def encoded(model: Path, images: np.ndarray) -> np.ndarray:
    """The mean of the posterior, written down without the generator's code."""
    w = load_file(model / vae.FILE)
    x = torch.from_numpy(images).float() / 255 * 2 - 1
    for layer in (0, 2):
        x = torch.conv2d(x, w[f"encoder.{layer}.weight"], w[f"encoder.{layer}.bias"], stride=2, padding=1).relu()
    return (x.flatten(1) @ w["encoder.5.weight"].T + w["encoder.5.bias"])[:, :4].numpy()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    return out / "store", run(out, "num_generations=3", "mixing=replace")


def test_samples_of_every_generation_are_described_by_the_network_of_generation_0(chain):
    store, rows = chain
    first = store / rows[0].artifacts["model"]
    for row in rows:
        pool = Pool.load(store / row.artifacts["samples"])
        found = [
            np.load(spec.parent / "features.npy")
            for spec in store.glob("features/*/*/spec.json")
            if json.loads(spec.read_text())["spec"]["pool"] == pool.id
        ]
        assert len(found) == 1
        np.testing.assert_allclose(found[0], encoded(first, pool.items), rtol=1e-4, atol=1e-4)


def test_floor_references_and_control_are_of_the_same_space(chain):
    _, rows = chain
    for row in rows:
        assert {s["feature_space"] for s in row.scores} == {"own_network"}
        fids = {(s["subject"], s["reference"]) for s in row.scores if s["metric"] == "fid"}
        about = ("samples", "heldout"), ("samples", "real_train"), ("samples", "training")
        assert fids == {*about, ("real_train", "heldout"), ("shuffled", "heldout")}
        assert row.score["space"]["model"].startswith("train/")
    assert len({row.score["space"]["model"] for row in rows}) == 1
    floors = [[s["value"] for s in row.scores if s["subject"] == "real_train"] for row in rows]
    assert floors[0] == floors[1] == floors[2]
    assert rows[0].code["score"]["features"] == vae.VERSION["features"]


def test_another_seed_has_another_space_and_another_floor(tmp_path):
    a, b = (run(tmp_path, f"seed={seed}", "num_generations=1")[0] for seed in (0, 1))
    assert a.score["space"]["model"] != b.score["space"]["model"]
    floor = [[s["value"] for s in row.scores if s["subject"] == "real_train"] for row in (a, b)]
    assert floor[0] != floor[1]


def test_it_may_be_an_extra_space(tmp_path):
    more = ["metrics.feature_space=pixels", "metrics.extra_spaces=[own_network]", "num_generations=1"]
    (row,) = run(tmp_path, *more)
    assert {s["feature_space"] for s in row.scores if s["metric"] == "fid"} == {"pixels", "own_network"}


def test_features_are_the_same_in_any_order_and_without_autocast(chain, tmp_path):
    store, rows = chain
    model = store / rows[0].artifacts["model"]
    config = composed(*overrides(tmp_path)).generator
    images = np.random.default_rng(0).integers(0, 256, (70, 3, 16, 16), np.uint8)
    done = []
    given = {"runtime": RUNTIME, "progress": lambda *parts: done.append(parts)}
    whole = generators.features(config, model, images, **given)
    assert whole.shape == (70, 4) and done == [(64, 70), (70, 70)]
    np.testing.assert_array_equal(generators.features(config, model, images[::-1], runtime=RUNTIME), whole[::-1])
    np.testing.assert_allclose(whole, encoded(model, images), rtol=1e-4, atol=1e-4)


def test_a_generator_without_features_is_refused_before_anything_runs():
    own = "metrics.feature_space=own_network"
    with pytest.raises(ConfigError, match=r"generator\.name='ddpm': offers no features"):
        preflight.check(composed(*TINY, own))
    with pytest.raises(ConfigError, match="offers no features"):
        preflight.check(composed(*TINY, "metrics.extra_spaces=[own_network]"))
    preflight.check(composed(*TINY, own, "metrics.scores=[risk]"))  # no score of it has features


def test_features_of_another_shape_are_refused(chain, tmp_path, monkeypatch):
    store, rows = chain
    config = composed(*overrides(tmp_path)).generator
    images = np.zeros((5, 3, 16, 16), np.uint8)
    wrong = [np.zeros((4, 2), np.float32), np.zeros((5, 2)), np.full((5, 2), np.nan, np.float32)]
    asked = []
    for values, message in zip(wrong, ("shape", "dtype float64", "5 items are not finite"), strict=True):
        monkeypatch.setattr(vae, "features", lambda *a, values=values, **given: asked.append(given) or values)
        with pytest.raises(MetricError, match=message):
            generators.features(config, store / rows[0].artifacts["model"], images, runtime=RUNTIME)
    assert {given["runtime"].autocast for given in asked} == {None} and RUNTIME.autocast is not None


def test_outside_of_a_chain_there_is_none_and_it_takes_no_weights():
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), np.uint8)
    with pytest.raises(MetricError, match="which exists only in a chain"):
        score(images, images, feature_space="own_network", scores=["fid"])
    with pytest.raises(MetricError, match="accepts no others"):
        extraction.prefetch("own_network", "weights.pth")
