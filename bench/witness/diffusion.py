"""Seeds, noise, training and sampling of the DDPM, implemented a second time: plain loops over the documented draws."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch.nn.utils import clip_grad_norm_

Weights = dict[str, torch.Tensor]


def derive(run_seed: int, generation: int, stage: str, index: int = 0) -> int:
    """Return the 63-bit seed of one draw.

    Args:
        run_seed: the seed of the chain.
        generation: the generation.
        stage: what the draw is for.
        index: the number of the draw within the stage.
    """
    digest = hashlib.blake2b(f"{run_seed}/{generation}/{stage}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def alphas_of(noise: dict[str, Any]) -> torch.Tensor:
    """Return ᾱ of Ho et al. 2020, float32 (T,), computed by diffusers."""
    return DDPMScheduler(noise["num_timesteps"], beta_schedule=noise["beta_schedule"]).alphas_cumprod


def train(
    network: Any, generator: dict[str, Any], images: np.ndarray, num_steps: int, seed: int, start: Weights | None
) -> tuple[Weights, Weights]:
    """Train in float32 and return (initial, averaged) weights.

    Args:
        network: the configuration of the stored UNet.
        generator: the configuration of the generator.
        images: uint8 (N, 3, H, H).
        num_steps: the number of training steps.
        seed: the seed of the training.
        start: the initial weights, or None for random ones.
    """
    about, noise, prediction = generator["training"], generator["noise"], generator["noise"]["prediction"]
    size, total, num_images = about["batch_size"], noise["num_timesteps"], len(images)
    alphas, gamma = alphas_of(noise), noise["min_snr_gamma"]
    snr = alphas / (1 - alphas)
    scale = {"sample": torch.ones_like(snr), "epsilon": snr, "v_prediction": snr + 1}[prediction]
    weight = snr.clamp(max=gamma) / scale if gamma else torch.ones_like(snr)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, 0, "weights"))
        unet = UNet2DModel.from_config(network).train()
        if start is not None:
            unet.load_state_dict(start)
        first = {name: value.clone() for name, value in unet.state_dict().items()}
        average = first
        optimizer = torch.optim.AdamW(unet.parameters(), weight_decay=about["weight_decay"])
        for step in range(num_steps):
            epochs = {i // num_images for i in range(step * size, (step + 1) * size)}
            order = {e: torch.randperm(num_images, generator=_random(seed, "epoch", e)) for e in epochs}
            rows = [int(order[i // num_images][i % num_images]) for i in range(step * size, (step + 1) * size)]
            x0 = torch.from_numpy(images[rows]) / 127.5 - 1
            random = _random(seed, "step", step)
            if about["horizontal_flip"]:
                flip = torch.rand(size, generator=random) < 0.5
                x0[flip] = x0[flip].flip(-1)
            eps = torch.randn(x0.shape, generator=random)
            t = ((torch.arange(size) + torch.rand((), generator=random)) / size * total).long().clamp(max=total - 1)
            signal, sigma = (v[t].sqrt()[:, None, None, None] for v in (alphas, 1 - alphas))
            target = {"epsilon": eps, "sample": x0, "v_prediction": signal * eps - sigma * x0}[prediction]
            torch.manual_seed(derive(seed, 0, "dropout", step))
            error = (unet(signal * x0 + sigma * eps, t).sample - target).square().mean((1, 2, 3))
            optimizer.zero_grad()
            (weight[t] * error).mean().backward()
            clip_grad_norm_(unet.parameters(), about["gradient_clip"])
            optimizer.param_groups[0]["lr"] = _rate(about, num_steps, step)
            optimizer.step()
            decay = min(about["ema_decay"], (1 + step) / (10 + step))
            average = {n: decay * average[n] + (1 - decay) * w.detach() for n, w in unet.state_dict().items()}
    return first, average


def _random(seed: int, stream: str, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, 0, stream, index))


def _rate(about: dict[str, Any], num_steps: int, step: int) -> float:
    """Return the learning rate: linear warm-up, then constant or falling to 0 at num_steps."""
    warmup = about["warmup_steps"]
    if step < warmup:
        return float(about["learning_rate"] * (step + 1) / warmup)
    left = (num_steps - step) / max(num_steps - warmup, 1)
    falling = {"none": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return float(about["learning_rate"] * falling[about["decay"]])


@torch.no_grad()
def sample(
    unet_folder: Path,
    generator: dict[str, Any],
    seeds: list[int],
    bf16: bool,
    guide: tuple[Path, float] | None = None,
) -> np.ndarray:
    """Return the images of some noise seeds, float (n, 3, H, H), in whole grey levels.

    Args:
        unet_folder: the stored network.
        generator: the configuration of the generator.
        seeds: one noise seed per image.
        bf16: whether the network runs under autocast to bfloat16.
        guide: the stored network that samples are guided away from, and the guidance weight (Alemohammad et al. 2024).
    """
    unet = UNet2DModel.from_pretrained(unet_folder, low_cpu_mem_usage=False).eval()
    other = UNet2DModel.from_pretrained(guide[0], low_cpu_mem_usage=False).eval() if guide else None
    noise, about = generator["noise"], generator["sampling"]
    shape, prediction, sampler = (3, *[unet.config.sample_size] * 2), noise["prediction"], about["sampler"]
    alphas, timesteps = alphas_of(noise).double(), spaced(about, noise["num_timesteps"])
    if multistep := sampler.endswith("dpmsolver++"):
        names = {"beta_schedule": noise["beta_schedule"], "prediction_type": "sample", "algorithm_type": sampler}
        solver = DPMSolverMultistepScheduler(noise["num_timesteps"], **names)
        solver.set_timesteps(timesteps=timesteps)
    eta = {"ddpm": 1.0, "ddim": about["eta"]}.get(sampler, 0.0)
    x = about["temperature"] * normals(seeds, shape, 0)
    for index, t in enumerate(timesteps):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = unet(x, torch.full((len(x),), t)).sample.float()
            if guide and other:
                out += guide[1] * (out - other(x, torch.full((len(x),), t)).sample.float())
        now, then = alphas[t], alphas[timesteps[index + 1]] if index + 1 < len(timesteps) else torch.ones(())
        signal, sigma = now.sqrt().float(), (1 - now).sqrt().float()
        x0 = {"sample": out, "epsilon": (x - sigma * out) / signal, "v_prediction": signal * x - sigma * out}[
            prediction
        ]
        x0, fresh = x0.clamp(-1, 1), normals(seeds, shape, index + 1)
        if multistep:
            x = solver.step(x0, t, x, variance_noise=fresh).prev_sample
        else:  # Song et al. 2021, eq. 12 and 16
            deviation = eta * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
            noise_now = (x.double() - now.sqrt() * x0) / (1 - now).sqrt()
            x = then.sqrt() * x0 + (1 - then - deviation**2).clamp(min=0).sqrt() * noise_now + deviation * fresh
            x = x.float()
    return ((x + 1) * 127.5).round().clamp(0, 255).numpy()


def spaced(sampling: dict[str, Any], num_timesteps: int) -> list[int]:
    """Return distinct timesteps from high to low, at sin²(πi/2n), (i/n)² (Song et al. 2021, app. D.2) or i/n."""
    num_steps = sampling["num_steps"]
    rising: list[int] = []
    for i in range(1, num_steps + 1):
        part = i / num_steps
        share = {"cosine": (1 - math.cos(math.pi * part)) / 2, "quadratic": part**2, "uniform": part}[
            sampling["spacing"]
        ]
        target = min(round(num_timesteps * share) - 1, num_timesteps - 1 - (num_steps - i))
        rising.append(max([target, *(t + 1 for t in rising[-1:]), 0]))
    return rising[::-1]


def normals(seeds: list[int], shape: tuple[int, ...], draw: int) -> torch.Tensor:
    """Return the standard normals of each seed, float32 (n, *shape).

    Philox4x32-10 (Salmon et al. 2011) counts blocks of four words, (block, draw, 0, 0), with the seed as the key; the
    Box–Muller transform turns them into normals.
    """
    size, low = math.prod(shape), np.uint64(0xFFFFFFFF)
    images = []
    for seed in seeds:
        key = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)]
        c: list[Any] = [np.arange(-(-size // 4), dtype=np.uint64), *(np.uint64(v) for v in (draw, 0, 0))]
        for _ in range(10):
            a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
            c = [(b >> np.uint64(32)) ^ c[1] ^ key[0], b & low, (a >> np.uint64(32)) ^ c[3] ^ key[1], a & low]
            key = [k + np.uint64(w) & low for k, w in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)]
        words = np.stack(np.broadcast_arrays(*c), -1).astype(np.float32)
        uniform = (words + np.float32(0.5)) * np.float32(2.0**-32)
        radius, angle = np.sqrt(-2 * np.log(uniform[:, 0::2])), np.float32(2 * np.pi) * uniform[:, 1::2]
        images.append(np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()[:size])
    return torch.from_numpy(np.stack(images)).float().reshape(len(seeds), *shape)
