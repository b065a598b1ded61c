"""A variational autoencoder (Kingma & Welling 2014) on images: convolutional, or linear if it has no convolutions.

The verbs load torch when they are called; importing this module does not. Pixel values are scaled to [0, 1] internally.
A
gaussian likelihood is a density on the scale of grey levels, 0 to 255.
"""

import functools
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench.config import GeneratorConfig
from bench.errors import ConfigError, SamplingError
from bench.generators.shared.schedule import TrainingConfig
from bench.options import option, stage_values
from bench.seeds import derive_seed

if TYPE_CHECKING:
    import torch

    from bench.kinds import Items
    from bench.machine.device import Runtime

VERSION = {"train": 1, "sample": 1, "risk": 1, "features": 1}
"""Must be raised, each by its stage, by any change that changes a trained model, the pixels of a sample, a loss, or a
feature."""
KINDS = ("images",)
CITATION = """@inproceedings{kingma2014vae,
  title     = {Auto-Encoding Variational {Bayes}},
  author    = {Kingma, Diederik P. and Welling, Max},
  booktitle = {International Conference on Learning Representations},
  year      = {2014},
}"""
FILE = "vae.safetensors"
TILE = 64
"""Images per network evaluation. The last bits of samples, risk and features depend on it, so it is part of their
versions."""
DRAWS = 8
"""Number of draws from the posterior of each image, over which its risk is averaged."""
LEAST_VARIANCE = 1 / 255**2 / 12
"""Smallest variance of a pixel: that of rounding to grey levels. With a smaller one, the density of a pixel would be
meaningless."""
MOST_LEVELS, MOST_CHANNELS, MOST_LATENTS = 8, 8192, 65_536


@dataclass
class Config(GeneratorConfig):
    """A VAE with a standard normal prior and a posterior of independent normals. channels: width of each level, whose
    4 x 4 convolution halves the image; []: no convolutions, the encoder and the decoder are linear. likelihood: the
    distribution of a pixel: gaussian, with the optimal single variance for all pixels (Rybkin et al. 2021), or
    bernoulli, as in most papers. beta: weight of the KL divergence in training (Higgins et al. 2017). decoder: whether
    a sample is the mean of the decoder's distribution or drawn from it."""

    name: str = "vae"
    latent_size: int = option(32, at_least=1, at_most=MOST_LATENTS)
    channels: list[int] = option([32, 64])
    likelihood: str = option("gaussian", one_of=("gaussian", "bernoulli"))
    beta: float = option(1.0, at_least=0)
    decoder: str = option("means", one_of=("means", "samples"), stage="sample")
    training: TrainingConfig = option(TrainingConfig)

    def validate(self) -> None:
        if len(self.channels) > MOST_LEVELS or not all(1 <= width <= MOST_CHANNELS for width in self.channels):
            allowed = f"must be at most {MOST_LEVELS} widths, each in [1, {MOST_CHANNELS}]"
            raise ConfigError("channels", self.channels, allowed)
        if self.training.num_micro_batches != 1:
            raise ConfigError("training.num_micro_batches", self.training.num_micro_batches, "a VAE takes 1 only")


def check(config: Config, shape: tuple[int, ...]) -> None:
    """Raise `ConfigError` if the network of `config` cannot process images of `shape` (3, H, H)."""
    factor = 2 ** len(config.channels)
    if shape[-1] % factor:
        raise ConfigError(
            "generator.channels",
            config.channels,
            f"{len(config.channels)} levels halve the image as many times, so data.resolution must be a multiple of "
            f"{factor}, and it is {shape[-1]}",
        )


def build(config: Config, resolution: int, seed: int) -> "torch.nn.ModuleDict":
    """Return the two networks `encoder`, from images (n, 3, H, H) to the mean and log variance of the posterior
    (n, 2 L), and `decoder`, from latents (n, L) to means, or for bernoulli logits, (n, 3, H, H). Weights are drawn from
    `seed`; the global random state does not change."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        widths = [3, *config.channels]
        side = resolution // 2 ** len(config.channels)
        size = widths[-1] * side**2
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for wide, narrow in zip(widths[1:], widths, strict=False):
            down += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.ReLU()]
            up = [nn.ReLU(), nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), *up]
        encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, 2 * config.latent_size))
        shape = nn.Unflatten(1, (widths[-1], side, side))
        return nn.ModuleDict(
            {"encoder": encoder, "decoder": nn.Sequential(nn.Linear(config.latent_size, size), shape, *up)}
        )


def posterior(network: "torch.nn.ModuleDict", x: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return mean and log variance of the latents of images in [0, 1], float32 (n, L) each."""
    mean, log_variance = network["encoder"](2 * x - 1).float().chunk(2, dim=1)
    return mean, log_variance.clamp(-30, 20)  # keeps exp far within the range of float32


def divergence(mean: "torch.Tensor", log_variance: "torch.Tensor") -> "torch.Tensor":
    """Return the KL divergence of each posterior from the prior, in nats, (n,) (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def fit(
    config: Config,
    items: "Items",
    *,
    seed: int,
    out: Path,
    work: Path,
    runtime: "Runtime",
    progress: Callable[[int, int], None],
    init: Path | None = None,
) -> dict[str, Any]:
    """Train on images, uint8 (N, 3, H, H). Write the average (EMA) of the weights, the variance of a pixel around the
    decoder's mean, and the loss curve in nats per channel value.

    Args, Returns and Raises are those of `bench.generators.fit`.
    """
    from bench.generators.shared import steps

    check(config, items.shape[1:])
    trainee = VAETraining(config, items, seed, runtime, init)
    about = [VERSION["train"], stage_values(config, "train", "train"), items.shape[-1], seed, str(init)]
    identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    course = steps.train(
        cast("steps.Trainee", trainee),
        config.training,
        identity=identity,
        device=runtime.device,
        work=work,
        progress=progress,
    )
    trainee.write(out, course.losses)
    num_parameters = sum(weight.numel() for weight in trainee.weights.values())
    return {**course.facts(config.training), "num_parameters": num_parameters, "data": trainee.batches.data}


class VAETraining:
    """Everything that a step changes: the weights, their average, and the optimiser's moments.

    The class has the interface of `bench.generators.shared.steps.Trainee`, but does not inherit from it, because that
    would import torch.
    """

    num_micro_batches = 1
    out_of_memory: tuple[dict[str, Any], ...] = ()
    shares_batches = False

    def __init__(self, config: Config, images: "Items", seed: int, runtime: "Runtime", init: Path | None) -> None:
        import torch

        from bench.generators.shared.batches import open_batches

        self.config, self.images, self.seed, self.runtime = config, images, seed, runtime
        self.random = torch.Generator(runtime.draw_on)
        self.batches = open_batches(images, config.training, seed, runtime.device)
        self.network = build(config, images.shape[-1], derive_seed(seed, 0, "weights"))
        if init is not None:
            _copy_weights(self.network, init)
        self.network.to(runtime.device)
        self.weights = dict(self.network.named_parameters())
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        training = config.training
        self.optimizer = torch.optim.AdamW(
            self.weights.values(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )

    def step(self, step: int) -> "torch.Tensor":
        """Take one optimiser step and return the mean loss of its batch, in nats per channel value."""
        import torch

        from bench.generators.shared import steps
        from bench.generators.shared.batches import to_device

        training, device = self.config.training, self.runtime.device
        x = self.batches.of_step(step).float() / 255
        self.random.manual_seed(derive_seed(self.seed, 0, "step", step))
        drawn = functools.partial(torch.rand, generator=self.random, device=self.random.device)
        if training.horizontal_flip:
            flip = to_device(drawn(len(x)), device) < 0.5
            x = torch.where(flip[:, None, None, None], x.flip(-1), x)
        shape = (len(x), self.config.latent_size)
        eps = to_device(torch.randn(shape, generator=self.random, device=self.random.device), device)
        with self.runtime.mixed_precision():
            mean, log_variance = posterior(self.network, x)
            z = mean + (0.5 * log_variance).exp() * eps
            decoded = self.network["decoder"](z).float()
        kl = divergence(mean, log_variance).mean() / x[0].numel()
        loss = self._reconstruction(x, decoded) + self.config.beta * kl
        self.optimizer.zero_grad()
        loss.backward()
        steps.update(self.weights, self.average, self.optimizer, training, step)
        return loss.detach()

    def _reconstruction(self, x: "torch.Tensor", decoded: "torch.Tensor") -> "torch.Tensor":
        """Return the negative log-likelihood per channel value. For gaussian, the variance is the optimal one for the
        batch."""
        import torch

        if self.config.likelihood == "bernoulli":
            return torch.nn.functional.binary_cross_entropy_with_logits(decoded, x)
        variance = (decoded - x).square().mean().clamp(min=LEAST_VARIANCE)
        return 0.5 * (2 * math.pi * math.e * 255**2 * variance).log()

    def tensors(self) -> "dict[str, torch.Tensor]":
        """Return the weights, their averages and AdamW's state, as `<what>/<name of the weight>`."""
        from bench.generators.shared import steps

        return steps.tensors_of(self.weights, self.average, self.optimizer)

    def restore(self, tensors: "dict[str, torch.Tensor]") -> None:
        """Restore the state from the tensors of a checkpoint."""
        for name, weight in self.weights.items():
            weight.detach().copy_(tensors[f"weight/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
            moments = {key: tensors[f"{key}/{name}"].to(weight.device) for key in ("step", "exp_avg", "exp_avg_sq")}
            self.optimizer.state[weight] = moments

    def write(self, out: Path, losses: list[tuple[int, float]]) -> None:
        """Write the model and its loss curve. The stored variance is the mean squared error on the training images."""
        import torch
        from safetensors.torch import save_file

        self.network.load_state_dict(self.average)
        seeds = np.arange(len(self.images)) + derive_seed(self.seed, 0, "variance") % 2**62
        errors = _errors(self.config, self.network, self.images, seeds, self.runtime, draws=1)
        variance = max(float(np.mean(errors["squared"])), LEAST_VARIANCE)
        tensors = {name: weight.contiguous().cpu() for name, weight in self.average.items()}
        about = {"variance": torch.tensor(variance), "resolution": torch.tensor(self.images.shape[-1])}
        out.mkdir(parents=True, exist_ok=True)
        save_file({**tensors, **about}, out / FILE)
        curve = [{"step": step, "mean_loss": loss} for step, loss in losses]
        (out / "losses.json").write_text(json.dumps(curve) + "\n")


def _copy_weights(network: "torch.nn.ModuleDict", init: Path) -> None:
    from safetensors.torch import load_file

    source = {name: tensor for name, tensor in load_file(init / FILE).items() if name not in ("variance", "resolution")}
    if {name: t.shape for name, t in source.items()} != {name: t.shape for name, t in network.state_dict().items()}:
        raise ConfigError("generator", str(init), "the model to start from has another network than this config")
    network.load_state_dict(source)


def load(config: Config, model: Path, runtime: "Runtime") -> tuple["torch.nn.ModuleDict", float, int]:
    """Return the network of a stored model on the runtime's device, the variance of a pixel, and the resolution.

    Raises `SamplingError` if a weight is NaN or infinite.
    """
    from safetensors.torch import load_file

    tensors = load_file(model / FILE)
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise SamplingError(f"{model}: {len(bad)} weights, e.g. {bad[0]}, are NaN or infinite: train it again")
    variance, resolution = tensors.pop("variance").item(), int(tensors.pop("resolution").item())
    network = build(config, resolution, seed=0)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False).to(runtime.device), variance, resolution


def sample(
    config: Config,
    model: Path,
    seeds: np.ndarray,
    *,
    work: Path,
    runtime: "Runtime",
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Decode latents drawn from the prior, image i only from the noise of `seeds[i]`. Returns uint8 (n, 3, H, H)."""
    import torch

    from bench.generators.shared.blocks import sample_in_blocks
    from bench.generators.shared.noise import normal

    network, variance, resolution = load(config, model, runtime)
    shape = (3, resolution, resolution)

    def draw(part: np.ndarray, report: Callable[[int], None]) -> np.ndarray:
        images = np.empty((len(part), *shape), np.uint8)
        for first in range(0, len(part), TILE):
            keys = part[first : first + TILE]
            padded = torch.from_numpy(np.resize(keys, TILE)).to(runtime.device)  # fill the tile by repetition
            with torch.inference_mode(), runtime.mixed_precision():
                x = network["decoder"](normal(padded, (config.latent_size,), draw=0)).float()
            if config.likelihood == "bernoulli":
                x = x.sigmoid()
            if config.decoder == "samples":
                noise = normal(padded, shape, draw=1)
                if config.likelihood == "gaussian":
                    x = x + variance**0.5 * noise
                else:
                    x = (torch.special.ndtr(noise) < x).float()
            if not x.isfinite().all():
                raise SamplingError(f"{model}: images of the seeds {keys[0]} to {keys[-1]} have NaN or infinity")
            images[first : first + TILE] = (x * 255).round().clamp(0, 255).to(torch.uint8)[: len(keys)].cpu().numpy()
            report(first + len(keys))
        return images

    return sample_in_blocks(seeds, draw, shape=shape, dtype=np.uint8, block=64 * TILE, work=work, progress=progress)


def risk(
    config: Config,
    model: Path,
    items: "Items",
    seeds: np.ndarray,
    *,
    runtime: "Runtime",
    progress: Callable[[int, int], None],
) -> dict[str, np.ndarray]:
    """Return the negative ELBO of every image in nats, "total", and its parts "reconstruction" and "kl", float64 (N,)
    each. beta is not used. A gaussian density refers to values from 0 to 255, so that the total approximates that of
    the discrete values, as in bits per dimension."""
    network, variance, resolution = load(config, model, runtime)
    errors = _errors(config, network, items, seeds, runtime, DRAWS, progress)
    if config.likelihood == "bernoulli":
        reconstruction = errors["cross_entropy"]
    else:
        size = 3 * resolution**2
        reconstruction = size * (0.5 * math.log(2 * math.pi * 255**2 * variance) + errors["squared"] / (2 * variance))
    return {"total": reconstruction + errors["kl"], "reconstruction": reconstruction, "kl": errors["kl"]}


def features(
    config: Config,
    model: Path,
    items: "Items",
    *,
    runtime: "Runtime",
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Return the posterior mean of every image, the encoder's μ, float32 (N, L)."""
    import torch

    network, _, _ = load(config, model, runtime)
    means = np.empty((len(items), config.latent_size), np.float32)
    for first in range(0, len(items), TILE):
        rows = np.arange(first, min(first + TILE, len(items)))
        x = torch.from_numpy(np.asarray(items[np.resize(rows, TILE)])).to(runtime.device).float() / 255
        with torch.inference_mode():
            mean, _ = posterior(network, x)
        means[rows] = mean.cpu().numpy()[: len(rows)]
        progress(int(rows[-1]) + 1, len(items))
    return means


def _errors(
    config: Config,
    network: "torch.nn.ModuleDict",
    images: "Items",
    seeds: np.ndarray,
    runtime: "Runtime",
    draws: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Return the errors of every image, averaged over draws from its posterior.

    Args:
        config: The configuration of the network.
        network: The encoder and the decoder.
        images: uint8 (N, 3, H, H).
        seeds: int64 (N,), the seed of the draws for each image.
        runtime: Device and precision.
        draws: Number of draws for each image.
        progress: Called with (images done, total images).

    Returns:
        float64 (N,) each: `squared`, the mean squared error of a channel value in [0, 1]; `cross_entropy`, the sum over
        all channel values; and `kl`, both in nats.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from bench.generators.shared.noise import normal

    found = {name: np.zeros(len(images)) for name in ("squared", "cross_entropy", "kl")}
    for first in range(0, len(images), TILE):
        rows = np.arange(first, min(first + TILE, len(images)))
        padded = np.resize(rows, TILE)  # fill the tile by repetition
        x = torch.from_numpy(np.asarray(images[padded])).to(runtime.device).float() / 255
        keys = torch.from_numpy(seeds[padded]).to(runtime.device)
        with torch.inference_mode(), runtime.mixed_precision():
            mean, log_variance = posterior(network, x)
            found["kl"][rows] = divergence(mean, log_variance).double().cpu().numpy()[: len(rows)]
            for draw in range(draws):
                z = mean + (0.5 * log_variance).exp() * normal(keys, (config.latent_size,), draw)
                decoded = network["decoder"](z).float()
                squared = (decoded - x).square().flatten(1).mean(dim=1)
                crossed = binary_cross_entropy_with_logits(decoded, x, reduction="none").flatten(1).sum(dim=1)
                found["squared"][rows] += squared.double().cpu().numpy()[: len(rows)] / draws
                found["cross_entropy"][rows] += crossed.double().cpu().numpy()[: len(rows)] / draws
        progress(int(rows[-1]) + 1, len(images))
    return found
