"""Whole trainings compared with a plain loop of torch and diffusers, with every draw derived from the documented
seeds."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from configs import EDMConfig, FlowConfig
from diffusers import DDPMPipeline, DDPMScheduler, EDMEulerScheduler, UNet2DModel
from safetensors.torch import load_file

from bench import generators
from bench.machine.device import Runtime

Make = Callable[..., Any]

NUM_STEPS, BATCH, SEED = 8, 8, 5
CHANNELS = {"channels": [16, 24], "attention": [False, True], "attention_head_dim": 8}  # two channels in a group
DETERMINED_BY_ROUNDING = ("to_k.bias",)
"""A softmax does not change when every key moves by the same: Adam blows up the rounding error that is the gradient."""

CASES: dict[str, dict[str, Any]] = {
    "everything": {
        "unet": {**CHANNELS, "dropout": 0.2},
        "noise": {"num_timesteps": 100, "min_snr_gamma": 5.0},
        "training": {
            "warmup_steps": 3,
            "decay": "linear",
            "weight_decay": 0.5,
            "gradient_clip": 0.2,
            "num_micro_batches": 3,
            "ema_decay": 0.3,
        },
        "rates": [1 / 3, 2 / 3, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5],
        "ema": [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3, 0.3, 0.3],
    },
    "as little as can be": {
        "unet": {**CHANNELS, "attention": [False, False]},
        "noise": {"num_timesteps": 50, "beta_schedule": "squaredcos_cap_v2", "prediction": "sample"},
        "training": {
            "warmup_steps": 0,
            "decay": "cosine",
            "gradient_clip": 1e9,
            "horizontal_flip": False,
            "ema_decay": 0.0,
        },
        "rates": [0.5 + 0.5 * math.cos(math.pi * step / 8) for step in range(8)],
        "ema": [0.0] * 8,
    },
    "a warm start": {
        "unet": CHANNELS,
        "noise": {
            "num_timesteps": 100,
            "beta_schedule": "scaled_linear",
            "prediction": "v_prediction",
            "min_snr_gamma": 2.0,
        },
        "training": {"warmup_steps": 2, "ema_decay": 0.9999, "gradient_clip": 0.5},
        "rates": [1 / 2, 1, 1, 1, 1, 1, 1, 1],
        "ema": [(1 + step) / (10 + step) for step in range(8)],
        "init": True,
    },
    "EDM": {
        "unet": {**CHANNELS, "dropout": 0.1},
        "noise": {
            "prediction": "edm",
            "num_timesteps": 1000,
            "edm": EDMConfig(sigma_data=0.4, log_sigma_mean=-0.3, log_sigma_deviation=0.9),
        },
        "training": {"warmup_steps": 0, "ema_decay": 0.5, "num_micro_batches": 2},
        "sampling": {"sampler": "heun"},
        "rates": [1.0] * 8,
        "ema": [min(0.5, (1 + step) / (10 + step)) for step in range(8)],
    },
    "a flow": {
        "unet": {**CHANNELS, "dropout": 0.1},
        "training": {"warmup_steps": 0, "ema_decay": 0.5, "num_micro_batches": 2},
        "time": {"distribution": "uniform"},
        "rates": [1.0] * 8,
        "ema": [min(0.5, (1 + step) / (10 + step)) for step in range(8)],
    },
    "a flow with logit-normal times": {
        "unet": CHANNELS,
        "training": {"warmup_steps": 0, "ema_decay": 0.0, "horizontal_flip": False},
        "time": {"distribution": "logit_normal", "mean": -0.3, "deviation": 1.4},
        "rates": [1.0] * 8,
        "ema": [0.0] * 8,
        "init": True,
    },
}


def draw_seed(stage: str, index: int = 0) -> int:
    digest = hashlib.blake2b(f"{SEED}/0/{stage}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") // 2


def seeded(stage: str, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(draw_seed(stage, index))


def plain_unet(config: Any) -> UNet2DModel:
    attends = config.unet.attention[1]
    torch.manual_seed(draw_seed("weights"))
    return UNet2DModel(
        sample_size=8,
        block_out_channels=(16, 24),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D" if attends else "DownBlock2D"),
        up_block_types=("AttnUpBlock2D" if attends else "UpBlock2D", "UpBlock2D"),
        add_attention=attends,
        attention_head_dim=8,
        norm_num_groups=8,
        dropout=config.unet.dropout,
    )


def plain_batch(config: Any, images: np.ndarray, step: int) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    epochs = [torch.randperm(len(images), generator=seeded("epoch", epoch)) for epoch in range(4)]
    rows = torch.cat(epochs)[step * BATCH : (step + 1) * BATCH]
    x0 = torch.from_numpy(images)[rows] / 127.5 - 1
    random = seeded("step", step)
    if config.training.horizontal_flip:
        for row, chance in enumerate(torch.rand(BATCH, generator=random)):
            if chance < 0.5:
                x0[row] = x0[row].flip(-1)
    eps = torch.randn(x0.shape, generator=random)
    start = torch.rand((), generator=random).item()
    return x0, eps, [(index + start) / BATCH for index in range(BATCH)]


def plain_weight(noise: Any, alpha: torch.Tensor) -> torch.Tensor:
    if noise.min_snr_gamma is None:
        return torch.ones_like(alpha)
    snr = alpha / (1 - alpha)
    least = torch.minimum(snr, torch.full_like(snr, noise.min_snr_gamma))
    return {"sample": least, "epsilon": least / snr, "v_prediction": least / (snr + 1)}[noise.prediction]


def plain_errors(
    config: Any, unet: UNet2DModel, x0: torch.Tensor, eps: torch.Tensor, shares: list[float]
) -> torch.Tensor:
    """Return the weighted error of each image, whose time is the one below which that share of all times lies."""
    if isinstance(config, FlowConfig):
        about, t = config.time, torch.tensor(shares)
        if about.distribution == "logit_normal":
            logits = [about.mean + about.deviation * NormalDist().inv_cdf(share) for share in shares]
            t = torch.tensor([1 / (1 + math.exp(-logit)) for logit in logits])
        noisy = torch.stack([image + now * (noise - image) for image, noise, now in zip(x0, eps, t, strict=True)])
        return (unet(noisy, 1000 * t).sample - (eps - x0)).pow(2).mean(dim=(1, 2, 3))
    noise = config.noise
    if noise.prediction == "edm":  # as diffusers has it
        about = noise.edm
        normals = [NormalDist(about.log_sigma_mean, about.log_sigma_deviation).inv_cdf(share) for share in shares]
        schedule = EDMEulerScheduler(sigma_data=about.sigma_data)
        flat = torch.tensor([math.exp(value) for value in normals])
        sigma = flat[:, None, None, None]
        noisy = x0 + sigma * eps
        output = unet(schedule.precondition_inputs(noisy, sigma), schedule.precondition_noise(flat)).sample
        denoised = schedule.precondition_outputs(noisy, output, sigma)
        weight = (flat**2 + about.sigma_data**2) / (flat * about.sigma_data) ** 2
        return weight * (denoised - x0).pow(2).mean(dim=(1, 2, 3))
    schedule = DDPMScheduler(num_train_timesteps=noise.num_timesteps, beta_schedule=noise.beta_schedule)
    t = torch.tensor([int(share * noise.num_timesteps) for share in shares])
    output = unet(schedule.add_noise(x0, eps, t), t).sample
    target = {"epsilon": eps, "sample": x0, "v_prediction": schedule.get_velocity(x0, eps, t)}[noise.prediction]
    return (output - target).pow(2).mean(dim=(1, 2, 3)) * plain_weight(noise, schedule.alphas_cumprod[t])


def plain_training(
    config: Any, images: np.ndarray, rates: list[float], ema: list[float], init: Path | None
) -> tuple[UNet2DModel, list[float]]:
    """Return the averaged network and the loss of each step."""
    unet = plain_unet(config)
    if init is not None:
        unet.load_state_dict(load_file(init / "unet" / "diffusion_pytorch_model.safetensors"))
    unet.train()
    average = {name: weight.detach().clone() for name, weight in unet.named_parameters()}
    training = config.training
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1.0, weight_decay=training.weight_decay)
    losses = []
    for step in range(NUM_STEPS):
        x0, eps, shares = plain_batch(config, images, step)
        optimizer.zero_grad()
        passes = training.num_micro_batches
        sum_of_losses = 0.0
        for part, rows in enumerate(np.array_split(np.arange(BATCH), passes)):
            torch.manual_seed(draw_seed("dropout", step * passes + part))
            each = plain_errors(config, unet, x0[rows], eps[rows], [shares[row] for row in rows])
            loss = each.sum() / BATCH
            loss.backward()  # type: ignore[no-untyped-call]
            sum_of_losses += loss.item()
        losses.append(sum_of_losses)
        torch.nn.utils.clip_grad_norm_(unet.parameters(), training.gradient_clip)
        optimizer.param_groups[0]["lr"] = training.learning_rate * rates[step]
        optimizer.step()
        for name, weight in unet.named_parameters():
            average[name] = ema[step] * average[name] + (1 - ema[step]) * weight.detach()
    unet.load_state_dict(average)
    return unet, losses


def made(tiny: Make, case: dict[str, Any]) -> Any:
    always = {"num_steps": NUM_STEPS, "batch_size": BATCH, "learning_rate": 3e-3, "checkpoint_every": 2}
    about = {name: case[name] for name in ("noise", "time", "sampling") if name in case}
    return tiny(unet=case["unet"], training=always | case["training"], **about)


@pytest.mark.parametrize("name", CASES)
def test_the_model_and_its_losses_are_those_of_a_plain_loop(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.generators.shared.steps.WATCH", 3)
    case = CASES[name]
    config, init = made(tiny, case), None
    if "init" in case:
        init = tmp_path / "before"
        torch.manual_seed(11)
        unet = UNet2DModel.from_config(plain_unet(config).config)
        DDPMPipeline(unet, DDPMScheduler()).save_pretrained(init)  # type: ignore[arg-type]
    plain, losses = plain_training(config, images, case["rates"], case["ema"], init)

    at = {"out": tmp_path / "model", "work": tmp_path / "work"}
    facts = generators.fit(config, images, seed=SEED, runtime=cpu, init=init, **at)
    pipeline = DDPMPipeline.from_pretrained(at["out"])
    about = pipeline.scheduler.config
    if "time" in case:
        assert (about["_class_name"], about["num_train_timesteps"]) == ("FlowMatchEulerDiscreteScheduler", 1000)
    elif name == "EDM":
        assert (about["_class_name"], about["sigma_data"]) == ("EDMEulerScheduler", 0.4)
    else:
        noise = config.noise
        assert (about["num_train_timesteps"], about["beta_schedule"]) == (noise.num_timesteps, noise.beta_schedule)
        assert (about["prediction_type"], about["clip_sample"]) == (noise.prediction, True)
    trained = pipeline.unet
    assert trained.config["dropout"] == config.unet.dropout and trained.config["sample_size"] == 8
    theirs = plain.state_dict()
    assert set(trained.state_dict()) == set(theirs)
    for key, weight in trained.state_dict().items():
        if not key.endswith(DETERMINED_BY_ROUNDING):
            apart = (weight - theirs[key]).abs()
            assert apart.mean() < 2e-6 and apart.max() < 1e-3, f"{key}: {apart.mean():.1e}, {apart.max():.1e}"

    curve = json.loads((at["out"] / "losses.json").read_text())
    assert [point["step"] for point in curve] == [3, 6, 8]
    expected = [np.mean(losses[:3]), np.mean(losses[3:6]), np.mean(losses[6:])]
    assert [point["mean_loss"] for point in curve] == pytest.approx(expected, rel=1e-4)
    assert facts["mean_loss"] == pytest.approx(np.mean(losses), rel=1e-4)  # not the mean over three unequal intervals
