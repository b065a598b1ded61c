"""Whole samplings compared with diffusers' own schedulers and network, with each image's noise computed
independently."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import DDPMConfig
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from diffusers.schedulers import scheduling_ddpm

from bench import generators
from bench.machine.device import Runtime

Make = Callable[..., DDPMConfig]
SHAPE = (3, 8, 8)
SEEDS = np.array([7, -4, 2**62 + 5, 2**40 + 7])
TIMESTEPS = [99, 84, 49, 14]  # four steps of 100, spaced by sin²


def philox(counter: tuple[int, int], key: tuple[int, int]) -> list[int]:
    """Compute Philox4x32-10 in plain integers, with the counter (position, draw, 0, 0)."""
    (a, b), c, d, (k0, k1) = counter, 0, 0, key
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (right >> 32) ^ b ^ k0, right % 2**32, (left >> 32) ^ d ^ k1, left % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [a, b, c, d]


@cache
def noise_of(seed: int, draw: int) -> torch.Tensor:
    """Return the normals (1, 3, 8, 8) of one seed: draw 0 is the start, draw s the noise of solver step s."""
    key = (seed % 2**32, (seed % 2**64) >> 32)
    values: list[float] = []
    for block in range(3 * 8 * 8 // 4):
        u = [(word + 0.5) / 2**32 for word in philox((block, draw), key)]
        radius, angle = np.sqrt(-2 * np.log([u[0], u[2]])), 2 * np.pi * np.array([u[1], u[3]])
        values += [*(radius * np.cos(angle)), *(radius * np.sin(angle))]
    return torch.tensor(values, dtype=torch.float32).reshape(1, *SHAPE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random network with dropout, whose outputs have about the magnitude of its targets."""
    torch.manual_seed(3)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(16, 24),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        dropout=0.5,
    )
    path = tmp_path_factory.mktemp("model")
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(path)  # type: ignore[arg-type]
    return path


def by_hand(network: UNet2DModel, config: DDPMConfig, seed: int, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return one image computed alone, uint8 (3, 8, 8)."""
    sampling, noise = config.sampling, config.noise
    betas: dict[str, Any] = {"num_train_timesteps": noise.num_timesteps, "beta_schedule": noise.beta_schedule}
    predicted = {"prediction_type": noise.prediction, "clip_sample": True}
    ancestral, ddim = DDPMScheduler(**betas, **predicted), DDIMScheduler(**betas, **predicted)
    ancestral.set_timesteps(timesteps=TIMESTEPS)
    kinds = ("dpmsolver++", "sde-dpmsolver++")
    multistep = DPMSolverMultistepScheduler(
        **betas,
        prediction_type="sample",
        algorithm_type=sampling.sampler if sampling.sampler in kinds else kinds[0],
    )
    multistep.set_timesteps(timesteps=TIMESTEPS)
    x = sampling.temperature * noise_of(seed, 0)
    for index, t in enumerate(TIMESTEPS):
        given = noise_of(seed, index + 1)
        with torch.no_grad():
            output = network(x, t).sample
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *args, given=given, **kw: given)
        step = ancestral.step(output, t, x)
        if sampling.sampler == "ddpm":
            x = step.prev_sample
        elif sampling.sampler == "ddim":
            there = (*TIMESTEPS, -1)[index + 1]
            ddim.num_inference_steps = Fraction(noise.num_timesteps, t - there)  # type: ignore[assignment]  # any gap
            x = ddim.step(output, t, x, eta=sampling.eta, use_clipped_model_output=True, variance_noise=given)[0]
        else:
            x = multistep.step(step.pred_original_sample, t, x, variance_noise=given)[0]
    return np.rint(np.clip((x[0].numpy().astype(np.float64) + 1) / 2, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("sampler", "schedule", "more"),
    [
        ("ddpm", "squaredcos_cap_v2", {}),
        ("ddim", "linear", {}),
        ("ddim", "scaled_linear", {"eta": 0.6, "temperature": 0.7}),
        ("dpmsolver++", "squaredcos_cap_v2", {"temperature": 1.3}),
        ("sde-dpmsolver++", "linear", {}),
    ],
)
def test_each_image_is_that_of_diffusers_scheduler_and_its_own_noise(
    tiny: Make,
    cpu: Runtime,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prediction: str,
    sampler: str,
    schedule: str,
    more: dict[str, float],
) -> None:
    config = tiny(
        unet={"channels": [16, 24], "attention_head_dim": 8},
        noise={"num_timesteps": 100, "beta_schedule": schedule, "prediction": prediction},
        sampling={"sampler": sampler, "num_steps": 4, **more},
    )
    sampled = generators.sample(config, model, SEEDS, work=tmp_path, runtime=cpu)
    network = UNet2DModel.from_pretrained(model / "unet").eval()
    for image, seed in zip(sampled, SEEDS.tolist(), strict=True):
        expected = by_hand(network, config, seed, monkeypatch)
        apart = np.abs(image.astype(int) - expected.astype(int))
        assert apart.max() <= 1 and (apart > 0).mean() < 0.03, "only a rounding may fall on the other side"
