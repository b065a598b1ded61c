"""Neon's weights and SIMS's scores are the combinations of the papers, of the weights that samples are drawn from."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench import generators
from bench.errors import SamplingError
from bench.generators.ddpm.edm import EDMProcess
from bench.generators.ddpm.process import build_process
from bench.generators.ddpm.sampling import trajectory
from bench.generators.ddpm.settings import EDMConfig
from bench.generators.flow.process import FlowProcess
from bench.generators.shared.unet_remedies import guided
from bench.generators.shared.unet_sampling import load_network

KINDS = {
    "epsilon": {},
    "x0": {"noise": {"prediction": "sample"}},
    "v": {"noise": {"prediction": "v_prediction"}},
    "edm": {"noise": {"num_timesteps": 1000, "prediction": "edm"}, "sampling": {"sampler": "heun"}},
    "flow": {"time": {}},
}
SEEDS = np.arange(5)


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "unet" / "diffusion_pytorch_model.safetensors")


MADE: dict[str, Path] = {}
"""The folder with the two models of each kind, which are trained once."""


@pytest.fixture
def pair(tiny, cpu, tmp_path, tmp_path_factory):
    """Return a function that returns (config of a kind, a trained model, a function that combines it with the same
    model after self-training). The second model can be had from the outcome."""

    def make(kind: str = "epsilon"):
        config = tiny(**KINDS[kind])
        if kind not in MADE:
            images = np.random.default_rng(0).integers(0, 256, (16, 3, 8, 8)).astype(np.uint8)
            MADE[kind] = folder = tmp_path_factory.mktemp("models")
            generators.fit(config, images, seed=1, out=folder / "model", work=folder / "w1", runtime=cpu)
            brief = generators.short_training(config, 3, 2.0)
            init, out = folder / "model", folder / "other"
            generators.fit(brief, images[:8], seed=2, out=out, work=folder / "w2", runtime=cpu, init=init)

        def combine(verb: str, weight: float, name: str = "combined") -> Path:
            shutil.copytree(MADE[kind] / "other", tmp_path / f"other {name}")
            model, other = MADE[kind] / "model", tmp_path / f"other {name}"
            generators.combine(config, verb, model, other, weight, tmp_path / name)
            return tmp_path / name

        return config, MADE[kind] / "model", combine

    return make


@pytest.mark.parametrize("kind", ["epsilon", "edm", "flow"])
def test_neon_goes_as_far_the_other_way(pair, kind, cpu, tmp_path):
    config, model, combine = pair(kind)
    trained, outcome = weights_of(model), combine("extrapolate", 1.5)
    other, made = weights_of(outcome / "self_trained"), weights_of(outcome)
    assert trained.keys() == made.keys()
    for name, weight in trained.items():
        torch.testing.assert_close(made[name], weight + 1.5 * (weight - other[name]))
    assert sum(float((other[n] - w).abs().max()) > 1e-4 for n, w in trained.items()) > len(trained) / 2
    plain, drawn = (
        generators.sample(config, folder, SEEDS, work=tmp_path / folder.name / "w", runtime=cpu)
        for folder in (model, outcome)
    )
    assert (plain != drawn).any()


def test_neon_of_weight_0_is_the_trained_model(pair):
    _, model, combine = pair()
    trained, made = weights_of(model), weights_of(combine("extrapolate", 0.0))
    assert all(torch.equal(trained[name], made[name]) for name in trained)


def test_self_training_begins_where_samples_are_drawn_from(pair, cpu, tmp_path):
    """At a learning rate of nearly 0 it changes nothing: it starts from the average of the weights, not the last."""
    config, model, _ = pair()
    brief = generators.short_training(config, 2, 1e-9)
    assert (brief.training.num_steps, brief.training.warmup_steps, brief.training.decay) == (2, 0, "none")
    images = np.zeros((8, 3, 8, 8), np.uint8)
    generators.fit(brief, images, seed=2, out=tmp_path / "out", work=tmp_path / "w", runtime=cpu, init=model)
    trained, other = weights_of(model), weights_of(tmp_path / "out")
    assert all(torch.allclose(trained[name], other[name], atol=1e-7) for name in trained)


@pytest.mark.parametrize("kind", KINDS)
def test_sims_of_weight_0_draws_the_same_bytes(pair, kind, cpu, tmp_path):
    config, model, combine = pair(kind)
    plain, same, other = (
        generators.sample(config, folder, SEEDS, work=tmp_path / f"w {folder.name}", runtime=cpu)
        for folder in (model, combine("guide", 0.0, "zero"), combine("guide", 3.0, "three"))
    )
    np.testing.assert_array_equal(plain, same)
    assert (plain != other).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_of_sims_is_that_of_both_models_and_the_weight(pair, kind, cpu):
    config, model, combine = pair(kind)
    outcome = combine("guide", 0.7)
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def noise(folder: Path) -> torch.Tensor:
        """Minus the score times the deviation of the noise."""
        network, side = load_network(folder, cpu)
        assert side == 8
        if kind == "flow":  # x_t = (1 - t) x0 + t eps and v = eps - x0, so eps = x_t + (1 - t) v
            return x + 0.6 * FlowProcess(config.time).velocity(network, x, 0.4)
        return build_process(config.noise, cpu.device).predicted_noise(network, x, 0.4 if kind == "edm" else 40)

    torch.testing.assert_close(noise(outcome), 1.7 * noise(model) - 0.7 * noise(outcome / "self_trained"))


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_sims_of_two_gaussians_has_the_spread_of_the_closed_form(tiny, cpu, weight):
    """Along the path of N(0, a²) and N(0, b²) the scores are -x / (a² + σ²) and -x / (b² + σ²). Then dx/dσ = -σ score
    has the solution x(0) = x(S) [a²/(a² + S²)]^((1 + ω)/2) [b²/(b² + S²)]^(-ω/2)."""
    a, b, most = 0.5, 0.4, 80.0
    process = EDMProcess(EDMConfig(sigma_data=0.3))

    def gaussian(spread: float):
        def network(x, t, return_dict):
            sigma = (4 * t).exp()[:, None, None, None]
            total = sigma.square() + 0.3**2
            c_skip, c_out, c_in = 0.3**2 / total, sigma * 0.3 / total.sqrt(), total.rsqrt()
            return ((spread**2 / (spread**2 + sigma.square()) - c_skip) / (c_out * c_in) * x,)

        return network

    sampling = {"sampler": "heun", "num_steps": 200}
    config = tiny(noise={"num_timesteps": 1000, "prediction": "edm"}, sampling=sampling)
    network = guided(gaussian(a), gaussian(b), weight)
    start = torch.arange(4)
    drawn = trajectory(config, process, network, start, 8, cpu)
    plain = trajectory(config, process, guided(gaussian(a), gaussian(b), 0.0), start, 8, cpu)
    expected = math.sqrt((a**2 / (a**2 + most**2)) ** weight * (b**2 / (b**2 + most**2)) ** -weight)
    torch.testing.assert_close(drawn, expected * plain, rtol=2e-3, atol=1e-5)
    assert float(plain.std()) == pytest.approx(a, rel=0.05)


def test_a_self_trained_model_that_is_no_number_is_not_sampled(pair, cpu, tmp_path):
    config, _, combine = pair()
    outcome = combine("guide", 1.0)
    file = outcome / "self_trained" / "unet" / "diffusion_pytorch_model.safetensors"
    broken = weights_of(outcome / "self_trained")
    save_file({name: weight * math.nan for name, weight in broken.items()}, file)
    with pytest.raises(SamplingError, match=r"self_trained: .* are NaN or infinite"):
        generators.sample(config, outcome, SEEDS, work=tmp_path / "w", runtime=cpu)
