"""The VAE: a linear one is probabilistic PCA; known losses; samples by seed; resuming; a chain."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shrunk import TINY, composed

from bench import generators
from bench.errors import ConfigError, SamplingError
from bench.generators import vae
from bench.generators.shared.schedule import TrainingConfig
from bench.ledger import read_runs
from bench.loop import run_chain
from bench.machine.console import Console
from bench.machine.device import Runtime
from bench.options import check
from bench.pool import Pool
from bench.seeds import derive_seed

RUNTIME = Runtime(torch.device("cpu"), None, compile=False)
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)
SEEDS = np.arange(70, dtype=np.int64) * 7919


def small(**changes) -> vae.Config:
    training = {"num_steps": 6, "batch_size": 8, "learning_rate": 1e-2, "warmup_steps": 2, "ema_decay": 0.5}
    training |= {"checkpoint_every": 2, **changes.pop("training", {})}
    return vae.Config(**{"latent_size": 3, "channels": [4, 8], "training": TrainingConfig(**training), **changes})


def fitted(config: vae.Config, images: np.ndarray, folder, seed: int = 0, **more):
    generators.fit(config, images, seed=seed, out=folder / "model", work=folder / "work", runtime=RUNTIME, **more)
    return folder / "model"


def drawn(config: vae.Config, model, folder, seeds: np.ndarray = SEEDS) -> np.ndarray:
    return generators.sample(config, model, seeds, work=folder, runtime=RUNTIME)


def losses(config: vae.Config, model, images: np.ndarray) -> dict[str, np.ndarray]:
    return generators.risk(config, model, images, np.arange(len(images)), runtime=RUNTIME)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_linear_vae_is_probabilistic_pca(tmp_path):
    """Its optimum is that of Tipping & Bishop 1999, eq. 7 and 8, with no gap to the likelihood (Lucas et al. 2019)."""
    rng = np.random.default_rng(0)
    n, d, size = 1024, 48, 2
    axes = rng.normal(size=(d, size)) * [25, 12]
    pixels = 128 + rng.normal(size=(n, size)) @ axes.T + rng.normal(0, 6, (n, d))
    images = pixels.round().clip(0, 255).astype(np.uint8).reshape(n, 3, 4, 4)
    values, vectors = np.linalg.eigh(np.cov(images.reshape(n, d).T.astype(float), bias=True))
    noise = values[:-size].mean()
    log_determinant = np.log(values[-size:]).sum() + (d - size) * np.log(noise)
    likelihood = 0.5 * (d * np.log(2 * np.pi) + log_determinant + d)

    training = {"num_steps": 1200, "batch_size": 256, "learning_rate": 3e-2, "warmup_steps": 20, "decay": "linear"}
    training |= {"ema_decay": 0.99, "horizontal_flip": False, "checkpoint_every": 5000}
    config = small(latent_size=size, channels=[], training=training)
    model = fitted(config, images, tmp_path)
    found = losses(config, model, images)
    assert likelihood - 0.2 < found["total"].mean() < likelihood + 1.0
    _, variance, _ = vae.load(config, model, RUNTIME)
    assert variance * 255**2 == pytest.approx(noise, rel=0.03)
    weights = load_file(model / vae.FILE)["decoder.0.weight"].numpy().astype(float)
    basis = np.linalg.qr(weights)[0]
    assert np.linalg.norm(vectors[:, -size:].T @ basis, 2) > 0.99
    assert np.linalg.svd(vectors[:, -size:].T @ basis, compute_uv=False).min() > 0.99


def empty(config: vae.Config, folder, variance: float = 0.01):
    """Write a model whose weights are all 0: the posterior is the prior, and every image is decoded to 0."""
    network = vae.build(config, 8, seed=0)
    tensors = {name: torch.zeros_like(weight) for name, weight in network.state_dict().items()}
    folder.mkdir()
    save_file({**tensors, "variance": torch.tensor(variance), "resolution": torch.tensor(8)}, folder / vae.FILE)
    return folder


def test_losses_are_those_of_the_formulas(tmp_path):
    gaussian, bernoulli = small(), small(likelihood="bernoulli")
    found = losses(gaussian, empty(gaussian, tmp_path / "g"), IMAGES)
    squares = (IMAGES.astype(float) ** 2).reshape(len(IMAGES), -1)
    variance = 0.01 * 255**2
    expected = 0.5 * (np.log(2 * np.pi * variance) + squares / variance).sum(axis=1)
    np.testing.assert_allclose(found["reconstruction"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["kl"], 0, atol=1e-6)
    found = losses(bernoulli, empty(bernoulli, tmp_path / "b"), IMAGES)
    np.testing.assert_allclose(found["total"], 3 * 8 * 8 * np.log(2), rtol=1e-5)


def test_the_divergence_is_that_of_normals():
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.3, -0.7]])
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    prior = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    expected = torch.distributions.kl_divergence(ours, prior).sum(dim=1)
    torch.testing.assert_close(vae.divergence(mean, log_variance), expected)


def test_the_total_is_the_sum_and_beta_weighs_the_divergence_in_training_alone(tmp_path):
    kl = {}
    for beta in (0.0, 1.0, 50.0):
        config = small(beta=beta, training={"num_steps": 100, "checkpoint_every": 1000})
        found = losses(config, fitted(config, IMAGES, tmp_path / str(beta)), IMAGES)
        np.testing.assert_allclose(found["total"], found["reconstruction"] + found["kl"])
        kl[beta] = found["kl"].mean()
    assert kl[0.0] > kl[1.0] > kl[50.0]


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("decoder", ["means", "samples"])
def test_an_image_depends_on_its_seed_alone(tmp_path, likelihood, decoder):
    config = small(likelihood=likelihood, decoder=decoder)
    model = fitted(config, IMAGES, tmp_path)
    images = drawn(config, model, tmp_path / "a")
    assert images.shape == (70, 3, 8, 8) and images.dtype == np.uint8 and len(np.unique(images, axis=0)) > 60
    order = np.random.default_rng(0).permutation(70)[:33]
    np.testing.assert_array_equal(drawn(config, model, tmp_path / "b", SEEDS[order]), images[order])


def test_samples_scatter_around_the_means_with_the_variance_of_the_model(tmp_path):
    config = small()
    model = empty(config, tmp_path / "model", variance=(20 / 255) ** 2)
    tensors = load_file(model / vae.FILE)
    last = max(name for name in tensors if name.startswith("decoder.") and name.endswith(".bias"))
    tensors[last].fill_(0.5)
    save_file(tensors, model / vae.FILE)
    seeds = np.arange(200, dtype=np.int64)
    means = drawn(config, model, tmp_path / "m", seeds).astype(float)
    assert (means == 128).all()
    config.decoder = "samples"
    scattered = drawn(config, model, tmp_path / "s", seeds).astype(float)
    assert scattered.mean() == pytest.approx(127.5, abs=0.5) and scattered.std() == pytest.approx(20, rel=0.02)
    config.likelihood = "bernoulli"
    flipped = drawn(config, model, tmp_path / "f", seeds)
    assert set(np.unique(flipped)) == {0, 255}
    assert (flipped == 255).mean() == pytest.approx(1 / (1 + np.exp(-0.5)), abs=0.01)


def test_the_variance_is_the_squared_error_of_the_stored_weights(tmp_path):
    config = small()
    network, variance, _ = vae.load(config, fitted(config, IMAGES, tmp_path), RUNTIME)
    seeds = np.arange(len(IMAGES)) + derive_seed(0, 0, "variance") % 2**62
    errors = vae._errors(config, network, IMAGES, seeds, RUNTIME, draws=1)
    assert variance == pytest.approx(errors["squared"].mean(), rel=1e-6)


class Killed(Exception):
    pass


def test_a_killed_training_ends_in_the_same_bytes(tmp_path):
    config = small(training={"horizontal_flip": True})
    whole = fitted(config, IMAGES, tmp_path / "whole")

    def kill(done: int, total: int) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        fitted(config, IMAGES, tmp_path / "killed", progress=kill)
    again = []
    resumed = fitted(config, IMAGES, tmp_path / "killed", progress=lambda done, total: again.append(done))
    assert again == [5, 6]
    assert (resumed / vae.FILE).read_bytes() == (whole / vae.FILE).read_bytes()
    other = fitted(config, IMAGES, tmp_path / "other", seed=1)
    assert (other / vae.FILE).read_bytes() != (whole / vae.FILE).read_bytes()
    assert json.loads((whole / "losses.json").read_text())[-1]["step"] == 6


def test_it_can_start_from_a_model_of_the_same_network(tmp_path):
    first = fitted(small(), IMAGES, tmp_path / "first")
    tiny_step = small(training={"num_steps": 1, "learning_rate": 1e-9})
    warm = fitted(tiny_step, IMAGES, tmp_path / "warm", init=first)
    a, b = load_file(first / vae.FILE), load_file(warm / vae.FILE)
    torch.testing.assert_close(a["encoder.0.weight"], b["encoder.0.weight"], rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="another network"):
        fitted(small(latent_size=4), IMAGES, tmp_path / "other", init=first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": [4, 8, 8, 8]}, "must be a multiple of 16, and it is 8"),
        ({"channels": [0]}, r"channels=\[0\]"),
        ({"latent_size": 0}, "latent_size=0: must lie in"),
        ({"beta": -1.0}, "beta=-1.0: must be at least 0"),
        ({"likelihood": "poisson"}, "likelihood='poisson': must be one of gaussian, bernoulli"),
        ({"training": {"num_micro_batches": 2}}, "num_micro_batches=2"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    config = small(**changes)
    with pytest.raises(ConfigError, match=message):
        check(config, "generator")
        generators.check(config, "images", (3, 8, 8))


def test_points_and_damaged_models_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="learns images, but the data are points"):
        generators.check(small(), "points", (2,))
    model = empty(small(), tmp_path / "model")
    tensors = load_file(model / vae.FILE)
    tensors["encoder.0.bias"][0] = torch.nan
    save_file(tensors, model / vae.FILE)
    with pytest.raises(SamplingError, match=r"1 weights, e.g. encoder.0.bias, are NaN"):
        drawn(small(), model, tmp_path / "work")


def test_a_chain_of_it_runs_and_scores_its_risk(tmp_path):
    overrides = [o for o in TINY if not o.startswith("generator.")]
    overrides += ["generator=vae", "generator.training.num_steps=20", "num_generations=2", "mixing=replace"]
    overrides += ["metrics.scores=[frechet,risk]", f"output_dir={tmp_path}", f"store_dir={tmp_path}/store"]
    directory = run_chain(composed(*overrides), Console(quiet=True))
    (chain,) = read_runs([directory])
    assert [row.generator for row in chain.rows] == ["vae", "vae"]
    parts = {s["parameters"].get("part") for s in chain.rows[1].scores if s["metric"] == "risk"}
    assert {"reconstruction", "kl"} <= parts
    pool = Pool.load(tmp_path / "store" / chain.rows[1].artifacts["samples"])
    assert pool.items.shape[1:] == (3, 16, 16)
