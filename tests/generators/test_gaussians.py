"""Gaussian and mixture: known estimates, samples, losses, and what cannot be fitted."""

import importlib.util

import numpy as np
import pytest
import torch
from configs import checked
from safetensors.numpy import load_file, save_file
from scipy.stats import multivariate_normal
from shrunk import composed

from bench import generators, ledger
from bench.errors import ConfigError, DataError, SamplingError, TrainingError
from bench.generators import gaussian, gaussian_mixture
from bench.loop import run_chain
from bench.machine.console import Console
from bench.machine.device import Runtime
from bench.pool import Pool

RUNTIME = Runtime(torch.device("cpu"), None, compile=False)
POINTS = np.random.default_rng(0).normal(size=(300, 3)) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0.5, 3]]) + [1, 2, 3]
TWO = np.concatenate([POINTS[:100, :2] / 3 - [9, 0], POINTS[:200, :2] / 3 + [9, 0]])
SEEDS = np.arange(20_000, dtype=np.int64) * 7919


def fitted(config, points, folder, seed=0):
    facts = generators.fit(config, points, seed=seed, out=folder / "model", work=folder, runtime=RUNTIME)
    assert facts["num_images"] == len(points)
    return folder / "model"


def drawn(config, model, seeds=SEEDS):
    return generators.sample(config, model, seeds, work=model, runtime=RUNTIME)


def losses(config, model, points):
    zeros = np.zeros(len(points), np.int64)
    return generators.risk(config, model, points, zeros, runtime=RUNTIME)["total"]


@pytest.mark.parametrize(("estimator", "ddof"), [("unbiased", 1), ("maximum_likelihood", 0)])
def test_the_estimates_are_those_of_the_estimator(estimator, ddof, tmp_path):
    config = gaussian.Config(estimator=estimator)
    mean, factor = gaussian.load(fitted(config, POINTS, tmp_path))
    np.testing.assert_allclose(mean, POINTS.mean(axis=0))
    np.testing.assert_allclose(factor @ factor.T, np.cov(POINTS.T, ddof=ddof))


def test_samples_and_losses_of_a_gaussian_are_those_of_its_density(tmp_path):
    config = gaussian.Config()
    model = fitted(config, POINTS, tmp_path)
    mean, factor = gaussian.load(model)
    samples = drawn(config, model)
    assert samples.dtype == np.float64
    whitened = np.linalg.solve(factor, (samples - mean).T).T
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=4 / len(SEEDS) ** 0.5)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(3), atol=4 * (2 / len(SEEDS)) ** 0.5)
    expected = -multivariate_normal(mean, factor @ factor.T).logpdf(POINTS)
    np.testing.assert_allclose(losses(config, model, POINTS), expected)


def test_a_mixture_finds_two_groups_and_draws_them_by_their_weights(tmp_path):
    config = gaussian_mixture.Config()
    model = fitted(config, TWO, tmp_path)
    weights, means, factors = gaussian_mixture.load(model)
    order = np.argsort(means[:, 0])
    np.testing.assert_allclose(weights[order], [1 / 3, 2 / 3], atol=1e-6)
    for k, group in zip(order, (TWO[:100], TWO[100:]), strict=True):
        np.testing.assert_allclose(means[k], group.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(factors[k] @ factors[k].T, np.cov(group.T, ddof=0) + 1e-6 * np.eye(2), atol=1e-5)
    samples = drawn(config, model)
    right = samples[samples[:, 0] > 0]
    assert abs(len(right) / len(samples) - 2 / 3) < 4 * (2 / 9 / len(samples)) ** 0.5
    np.testing.assert_allclose(right.mean(axis=0), TWO[100:].mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(right.T), np.cov(TWO[100:].T), atol=0.05)
    density = sum(w * multivariate_normal(m, f @ f.T).pdf(TWO) for w, m, f in zip(weights, means, factors, strict=True))
    np.testing.assert_allclose(losses(config, model, TWO), -np.log(density))


@pytest.mark.parametrize("config", [gaussian.Config(), gaussian_mixture.Config()], ids=lambda config: config.name)
def test_the_same_fit_has_the_same_bytes_and_an_item_depends_on_its_seed_alone(config, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fitted(config, TWO, tmp_path / name, seed=2**40 + 3)
    a, b = ((next((tmp_path / name / "model").iterdir())).read_bytes() for name in ("a", "b"))
    assert a == b
    model, seeds = tmp_path / "a" / "model", SEEDS[:50]
    together = drawn(config, model, seeds)
    np.testing.assert_array_equal(together[::-1], drawn(config, model, seeds[::-1].copy()))
    np.testing.assert_array_equal(together[7:8], drawn(config, model, seeds[7:8]))


def test_what_cannot_be_fitted_is_said(tmp_path):
    with pytest.raises(DataError, match="at least 4 points, there are 3"):
        fitted(gaussian.Config(), POINTS[:3], tmp_path)
    flat = POINTS * [1, 0, 1]
    with pytest.raises(TrainingError, match="singular"):
        fitted(gaussian.Config(), flat, tmp_path)
    with pytest.raises(DataError, match="3 components"):
        fitted(gaussian_mixture.Config(num_components=3), POINTS[:2], tmp_path)
    with pytest.raises(ConfigError, match="learns points, but the data are images"):
        fitted(gaussian.Config(), np.zeros((4, 3, 8, 8), np.uint8), tmp_path)
    assert not (tmp_path / "model").exists()


def test_numbers_that_are_not_finite_end_a_fit_and_a_sampling(tmp_path):
    with pytest.raises(TrainingError, match=r"covariance of the 300 points is not finite: they reach .*e\+20"):
        fitted(gaussian.Config(), POINTS * 1e200, tmp_path)
    assert not (tmp_path / "model").exists()
    for config in (gaussian.Config(), gaussian_mixture.Config()):
        model = fitted(config, POINTS, tmp_path / config.name)
        file = next(model.glob("*.safetensors"))
        tensors = load_file(file)
        key = "mean" if "mean" in tensors else "means"
        save_file({**tensors, key: tensors[key] * np.nan}, file)
        with pytest.raises(SamplingError, match=rf"the samples of generator {config.name} have NaN"):
            drawn(config, model)


def test_real_points_that_are_not_finite_end_a_chain_before_training(tmp_path):
    chain = composed("experiment=gaussian_mixture", f"output_dir={tmp_path}", "data.sd=1e308", "runtime.device=cpu")
    with pytest.raises(DataError, match="data=points: train items have NaN or infinity"):
        run_chain(chain, Console())


def test_a_missing_package_is_said_with_the_command_that_installs_it(monkeypatch):
    checked(gaussian_mixture.Config())
    monkeypatch.setattr(
        gaussian_mixture, "find_spec", lambda name: None if name == "sklearn" else importlib.util.find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"^generator\.name=.*pip install 'diffusion-collapse-bench\[points\]'"):
        checked(gaussian_mixture.Config(), "generator")


def test_the_experiment_of_a_mixture_runs_shrunk(tmp_path):
    config = composed(
        "experiment=gaussian_mixture", "num_generations=3", "num_probes=50", "runtime.device=cpu",
        "data.num_train=200", "data.num_heldout=200", "metrics.num_images=200", f"output_dir={tmp_path}/outputs",
    )  # fmt: skip
    assert (config.generator.num_components, config.data.dimension, config.mixing.policy) == (2, 2, "replace")
    directory = run_chain(config, Console(quiet=True))
    rows = ledger.read(directory / "ledger.jsonl")
    assert [row.composition["synthetic_ratio"] for row in rows] == [0, 1, 1]
    for row in rows:
        fid = {s["subject"]: s["value"] for s in row.scores if s["metric"] == "fid"}
        assert {"samples", "real_train"} <= fid.keys() and 0 < fid["samples"] < 2  # between centres 8 apart
        samples = Pool.load(tmp_path / "outputs" / "store" / row.artifacts["samples"]).items
        assert 0.3 < (samples[:, 0] > 0).mean() < 0.7 and (abs(samples[:, 0]) > 1).mean() > 0.95
        assert (directory / f"probes/generation_{row.generation:04d}.png").exists()
