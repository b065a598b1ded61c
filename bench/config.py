"""The whole configuration as dataclasses, one per Hydra group, with their checks.

Hydra composes YAML into a tree whose shape and types are these classes (an unknown key or a wrong type is rejected
while composing); `from_hydra` then turns the tree into instances, whose `__post_init__` checks ranges and
combinations. After that no code sees a `DictConfig`. Nothing here imports torch, so a mistake is reported in well
under a second.
"""

import hashlib
import json
from collections.abc import Collection
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from bench.errors import ConfigError


def _at_least(key: str, value: float | None, low: float) -> None:
    if value is not None and not value >= low:
        raise ConfigError(key, value, f"must be at least {low}")


def _between(key: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ConfigError(key, value, f"must lie in [{low}, {high}]")


def _positive(key: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise ConfigError(key, value, "must be greater than 0")


def _one_of(key: str, value: Any, allowed: Collection[Any]) -> None:
    if value not in allowed:
        raise ConfigError(key, value, f"must be one of {', '.join(map(str, allowed))}")


# ---------------------------------------------------------------------------------------------------------- data


@dataclass
class DataConfig:
    """What every source of real images has. Split: a seeded hash of the source ids puts `num_heldout` images aside
    for scoring, the next `num_train` (null: all that are left) are the real pool."""

    name: str = MISSING
    resolution: int = 64
    num_train: int | None = None
    num_heldout: int = 1024
    split_seed: int = 0

    def __post_init__(self) -> None:
        _between("data.resolution", self.resolution, 8, 1024)
        _at_least("data.num_train", self.num_train, 2)
        _at_least("data.num_heldout", self.num_heldout, 2)


@dataclass
class ProceduralConfig(DataConfig):
    """Drawn pictures; deterministic by index, with species, colour and pose as labels. num_reserve: drawn beyond the
    other two, for policies that use fresh real images. Endless data need no split: `split_seed` picks the drawings."""

    name: str = "procedural"
    kind: str = "flowers"
    resolution: int = 16
    num_train: int | None = 1024
    num_reserve: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("data.kind", self.kind, ("flowers", "birds"))
        if self.num_train is None:
            raise ConfigError("data.num_train", None, "procedural data is endless: give a number of images")
        _at_least("data.num_reserve", self.num_reserve, 0)


@dataclass
class Flowers102Config(DataConfig):
    """Oxford 102 Flowers through torchvision. subset: a manifest in data/ (or a path to one); null: all classes."""

    name: str = "flowers102"
    root: str = "data/cache"
    download: bool = True
    subset: str | None = None


@dataclass
class Cub200Config(DataConfig):
    """CUB-200-2011, cropped to its bounding boxes widened by `padding` of their longer side."""

    name: str = "cub200"
    root: str = "data/cache"
    download: bool = True
    subset: str | None = None
    padding: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        _between("data.padding", self.padding, 0.0, 2.0)


@dataclass
class NpzConfig(DataConfig):
    """A NumPy archive with `images` uint8 (N, H, W, 3) and optionally `labels`, `class_names`, `filenames`."""

    name: str = "npz"
    path: str = MISSING
    subset: str | None = None


@dataclass
class FolderConfig(DataConfig):
    """Every picture below a folder; the name of a picture's own folder is its class."""

    name: str = "folder"
    path: str = MISSING
    subset: str | None = None


# ----------------------------------------------------------------------------------------------------- generator


@dataclass
class UNetConfig:
    """diffusers `UNet2DModel`. One entry per resolution level; attention where `attention` says so."""

    channels: list[int] = field(default_factory=lambda: [128, 128, 256, 256])
    attention: list[bool] = field(default_factory=lambda: [False, False, True, False])
    layers_per_block: int = 2
    attention_head_dim: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for width in self.channels:
            if width < 8 or width % 8:
                raise ConfigError("generator.unet.channels", self.channels, "each must be a multiple of 8")
        if len(self.attention) != len(self.channels):
            raise ConfigError(
                "generator.unet.attention",
                self.attention,
                f"needs {len(self.channels)} entries, as channels has",
            )
        _at_least("generator.unet.layers_per_block", self.layers_per_block, 1)
        _at_least("generator.unet.attention_head_dim", self.attention_head_dim, 8)
        _between("generator.unet.dropout", self.dropout, 0.0, 0.9)


@dataclass
class NoiseConfig:
    """The forward process of DDPM (Ho et al. 2020) and what the network predicts."""

    num_timesteps: int = 1000
    beta_schedule: str = "linear"
    prediction: str = "epsilon"
    min_snr_gamma: float | None = None

    def __post_init__(self) -> None:
        _at_least("generator.noise.num_timesteps", self.num_timesteps, 2)
        _one_of(
            "generator.noise.beta_schedule",
            self.beta_schedule,
            ("linear", "scaled_linear", "squaredcos_cap_v2"),
        )
        _one_of("generator.noise.prediction", self.prediction, ("epsilon", "sample", "v_prediction"))
        _positive("generator.noise.min_snr_gamma", self.min_snr_gamma)


@dataclass
class TrainingConfig:
    """num_steps: optimiser steps, equal in every generation and condition, so that compute is never the difference.
    decay: after its warm-up the learning rate stays (`none`) or falls to 0 at num_steps (`linear`, `cosine`).
    num_micro_batches: passes that a batch is split into, to save memory or to share it among processes; the gradient is
    the same up to rounding."""

    num_steps: int = 100_000
    num_epochs: float | None = None
    batch_size: int = 128
    num_micro_batches: int = 1
    learning_rate: float = 2e-4
    warmup_steps: int = 500
    decay: str = "none"
    weight_decay: float = 0.0
    ema_decay: float = 0.9999
    gradient_clip: float = 1.0
    horizontal_flip: bool = True
    checkpoint_every: int = 5000

    def __post_init__(self) -> None:
        _at_least("generator.training.num_steps", self.num_steps, 1)
        _positive("generator.training.num_epochs", self.num_epochs)
        _at_least("generator.training.batch_size", self.batch_size, 1)
        _between("generator.training.num_micro_batches", self.num_micro_batches, 1, self.batch_size)
        _positive("generator.training.learning_rate", self.learning_rate)
        _at_least("generator.training.warmup_steps", self.warmup_steps, 0)
        _one_of("generator.training.decay", self.decay, ("none", "linear", "cosine"))
        _at_least("generator.training.weight_decay", self.weight_decay, 0.0)
        _between("generator.training.ema_decay", self.ema_decay, 0.0, 0.999999)
        _positive("generator.training.gradient_clip", self.gradient_clip)
        _at_least("generator.training.checkpoint_every", self.checkpoint_every, 1)


@dataclass
class SamplingConfig:
    """sampler: `ddpm` (ancestral; the reference when num_steps is noise.num_timesteps), `ddim` (stochasticity eta),
    `dpmsolver++` (second-order ODE), `sde-dpmsolver++` (second-order SDE). num_steps: network evaluations an image.
    temperature: standard deviation of the initial noise; below 1 it trades variety for typical pictures (the sampling
    bias of MAD 2307.01850). batch_size: images in flight; it never changes a pixel."""

    sampler: str = "dpmsolver++"
    num_steps: int = 25
    eta: float = 0.0
    temperature: float = 1.0
    batch_size: int = 512

    def __post_init__(self) -> None:
        samplers = ("ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++")
        _one_of("generator.sampling.sampler", self.sampler, samplers)
        _at_least("generator.sampling.num_steps", self.num_steps, 1)
        _between("generator.sampling.eta", self.eta, 0.0, 1.0)
        _between("generator.sampling.temperature", self.temperature, 0.0, 2.0)
        if self.eta > 0 and self.sampler != "ddim":
            raise ConfigError("generator.sampling.eta", self.eta, f"has no effect with sampler {self.sampler!r}: set 0")
        _at_least("generator.sampling.batch_size", self.batch_size, 1)


@dataclass
class GeneratorConfig:
    """A generator is `fit(images)` and `sample(n)`; see bench/generators/__init__.py."""

    name: str = MISSING


@dataclass
class DDPMConfig(GeneratorConfig):
    name: str = "ddpm"
    unet: UNetConfig = field(default_factory=UNetConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        if self.sampling.num_steps > self.noise.num_timesteps:
            raise ConfigError(
                "generator.sampling.num_steps",
                self.sampling.num_steps,
                f"at most {self.noise.num_timesteps} timesteps",
            )


# -------------------------------------------------------------------------------------------------------- mixing


@dataclass
class MixingConfig:
    """A mixing policy by name; its parameters are the fields of its own class."""

    policy: str = MISSING


def _ratio(key: str, value: Any, high: float = 1.0) -> Any:
    """A number, or a schedule: one number per generation from generation 1 on."""
    numbers = value if isinstance(value, list) else [value]
    if not numbers or any(isinstance(x, bool) or not isinstance(x, int | float) for x in numbers):
        raise ConfigError(key, value, "must be a number, or a list of numbers, one per generation from 1 on")
    for number in numbers:
        if not 0.0 <= number <= high:
            raise ConfigError(key, value, f"must lie in [0, {high:g}]")
    return [float(x) for x in numbers] if isinstance(value, list) else float(value)


@dataclass
class ReplaceConfig(MixingConfig):
    """Only the previous generation's samples. num_images: how many; null: as many as generation 0 trained on."""

    policy: str = "replace"
    num_images: int | None = None

    def __post_init__(self) -> None:
        _at_least("mixing.num_images", self.num_images, 1)


@dataclass
class BlendConfig(MixingConfig):
    """A fixed total, of which the share `synthetic_ratio` comes from the previous generation."""

    policy: str = "blend"
    synthetic_ratio: Any = 0.5
    real_part: str = "redrawn"

    def __post_init__(self) -> None:
        self.synthetic_ratio = _ratio("mixing.synthetic_ratio", self.synthetic_ratio)
        _one_of("mixing.real_part", self.real_part, ("fixed", "redrawn"))


@dataclass
class AugmentConfig(MixingConfig):
    """All real images and `synthetic_per_real` (λ) times as many samples of the previous generation."""

    policy: str = "augment"
    synthetic_per_real: Any = 1.0

    def __post_init__(self) -> None:
        self.synthetic_per_real = _ratio("mixing.synthetic_per_real", self.synthetic_per_real, high=100.0)


@dataclass
class AccumulateConfig(MixingConfig):
    """All real images and the samples of every generation so far: the set grows."""

    policy: str = "accumulate"


@dataclass
class AccumulateSubsampleConfig(MixingConfig):
    """A fixed total, drawn uniformly from all that `accumulate` holds."""

    policy: str = "accumulate_subsample"


@dataclass
class WindowConfig(BlendConfig):
    """As blend, but the synthetic share comes from the last `num_generations` generations together."""

    policy: str = "window"
    num_generations: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("mixing.num_generations", self.num_generations, 1)


@dataclass
class FreshConfig(MixingConfig):
    """As blend, but the real share is new in every generation, from the reserve that data.num_train leaves over."""

    policy: str = "fresh"
    synthetic_ratio: Any = 0.5

    def __post_init__(self) -> None:
        self.synthetic_ratio = _ratio("mixing.synthetic_ratio", self.synthetic_ratio)


@dataclass
class CustomConfig(MixingConfig):
    """A policy of your own: function is `module:function`, parameters are passed to it by name."""

    policy: str = "custom"
    function: str = MISSING
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.function.count(":") != 1:
            raise ConfigError("mixing.function", self.function, "must have the form module:function")


# ------------------------------------------------------------------------------------------------------- metrics


SCORE_FAMILIES = ("frechet", "kernel", "manifold", "diversity", "copying", "tails")
FEATURE_SPACES = ("efficientnet_lite0", "inception_v3", "dinov2")
REFERENCES = ("heldout", "real_train", "training")


def _subset(key: str, value: list[str], allowed: Collection[str]) -> None:
    if not value or len(set(value)) < len(value) or not set(value) <= set(allowed):
        raise ConfigError(key, value, f"must be different ones of {', '.join(allowed)}")


@dataclass
class MetricsConfig:
    """num_images: N, the same on both sides; k: of the k-NN manifolds. scores: families, computed against the held-out
    images; frechet, kernel and manifold also against every other of `references`. kid_subset_size: at most N / 2.
    num_resamples: half-samples of the images for a standard deviation beside each score; 0: none.
    feature_space: a name, or `module:function` for your own (see bench/features/shared/extraction.py).
    weights: a local file with the feature extractor's weights, for machines without network; null: the default."""

    feature_space: str = "efficientnet_lite0"
    num_images: int = 1024
    k: int = 3
    scores: list[str] = field(default_factory=lambda: list(SCORE_FAMILIES))
    references: list[str] = field(default_factory=lambda: ["heldout"])
    kid_num_subsets: int = 100
    kid_subset_size: int = 1000
    num_resamples: int = 0
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.feature_space.count(":") != 1:
            _one_of("metrics.feature_space", self.feature_space, FEATURE_SPACES)
        _at_least("metrics.num_images", self.num_images, 2)
        _between("metrics.k", self.k, 1, self.num_images - 1)
        _subset("metrics.scores", self.scores, SCORE_FAMILIES)
        _subset("metrics.references", self.references, REFERENCES)
        if "heldout" not in self.references:
            raise ConfigError("metrics.references", self.references, "must have heldout")
        _at_least("metrics.kid_num_subsets", self.kid_num_subsets, 2)
        _at_least("metrics.kid_subset_size", self.kid_subset_size, 2)
        if self.num_resamples == 1:
            raise ConfigError("metrics.num_resamples", 1, "must be 0, or at least 2 for a standard deviation")
        _at_least("metrics.num_resamples", self.num_resamples, 0)


# ----------------------------------------------------------------------------------------------- tracking, runtime


@dataclass
class TrackingConfig:
    """tracker: `none`, or `wandb`: online when an API key is present, else offline."""

    tracker: str = "none"
    project: str = "diffusion-collapse"
    entity: str | None = None

    def __post_init__(self) -> None:
        _one_of("tracking.tracker", self.tracker, ("none", "wandb"))


@dataclass
class RuntimeConfig:
    """Where and how it runs. device: auto takes CUDA where there is one, and says which it took.
    precision: auto is bf16 autocast where the hardware has it. compile: null compiles on CUDA only.
    cuda_graphs: whether what is compiled is recorded and replayed as CUDA graphs, for networks so small that launching
    their kernels takes longer than running them. Every network records its own, and they stay until the process ends:
    not for long sweeps in one process."""

    device: str = "auto"
    precision: str = "auto"
    compile: bool | None = None
    cuda_graphs: bool = False
    num_threads: int | None = None

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda") and not self.device.startswith("cuda:"):
            raise ConfigError("runtime.device", self.device, "must be auto, cpu, cuda or cuda:<index>")
        _one_of("runtime.precision", self.precision, ("auto", "fp32", "bf16"))
        _at_least("runtime.num_threads", self.num_threads, 1)


@dataclass
class ProtocolConfig:
    """A named, versioned, frozen set of values; name null: none, so the numbers are not citable as such.

    free: the keys that a chain of the protocol may set, and the values that they may take (empty: any).
    strict: whether a deviation from the frozen values is an error, or is allowed and recorded in every ledger row.
    deviations: filled in by `bench.protocols`: key -> [frozen value, value of this chain].
    """

    name: str | None = None
    version: int | None = None
    free: dict[str, list[Any]] = field(default_factory=dict)
    strict: bool = True
    deviations: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.name is None) != (self.version is None):
            raise ConfigError("protocol.version", self.version, "a protocol has both a name and a version")


# ---------------------------------------------------------------------------------------------------------- root


@dataclass
class Config:
    """One chain. name: the sweep it belongs to. num_generations counts generation 0. num_samples: drawn from every
    generation's model (null: as many as the real pool or the scores need, whichever is more). warm_start: training goes
    on from the previous generation's weights. retrain_epochs: how long generations from 1 on train; null: as long as
    generation 0. num_probes: pictures of the same noise in every generation."""

    name: str = MISSING
    seed: int = 0
    num_generations: int = 4
    num_samples: int | None = None
    warm_start: bool = False
    retrain_epochs: float | None = None
    num_probes: int = 16
    output_dir: str = "outputs"
    store_dir: str = "${output_dir}/store"
    data: DataConfig = MISSING
    generator: GeneratorConfig = MISSING
    mixing: MixingConfig = MISSING
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ConfigError("name", self.name, "must be a plain folder name")
        _at_least("seed", self.seed, 0)
        _at_least("num_generations", self.num_generations, 1)
        _at_least("num_probes", self.num_probes, 1)
        _positive("retrain_epochs", self.retrain_epochs)
        if self.data.num_train is not None and self.metrics.num_images > self.data.num_train:
            raise ConfigError(
                "metrics.num_images",
                self.metrics.num_images,
                f"the real-vs-real floor needs as many real images, and data.num_train is {self.data.num_train}",
            )
        if self.num_samples is not None and self.num_samples < self.metrics.num_images:
            raise ConfigError(
                "num_samples",
                self.num_samples,
                f"scores need metrics.num_images={self.metrics.num_images} of them",
            )
        for name in ("synthetic_ratio", "synthetic_per_real"):
            schedule = getattr(self.mixing, name, None)
            if isinstance(schedule, list) and len(schedule) != self.num_generations - 1:
                raise ConfigError(
                    f"mixing.{name}",
                    schedule,
                    f"a schedule needs {self.num_generations - 1} entries, one per generation from 1 on",
                )
        if self.metrics.num_images > self.data.num_heldout:
            raise ConfigError(
                "metrics.num_images",
                self.metrics.num_images,
                f"scores use N held-out images, and data.num_heldout is {self.data.num_heldout}",
            )


SCHEMAS: dict[tuple[str | None, str], type] = {
    (None, "config_schema"): Config,
    ("data", "procedural_schema"): ProceduralConfig,
    ("data", "flowers102_schema"): Flowers102Config,
    ("data", "cub200_schema"): Cub200Config,
    ("data", "npz_schema"): NpzConfig,
    ("data", "folder_schema"): FolderConfig,
    ("generator", "ddpm_schema"): DDPMConfig,
    ("mixing", "replace_schema"): ReplaceConfig,
    ("mixing", "blend_schema"): BlendConfig,
    ("mixing", "augment_schema"): AugmentConfig,
    ("mixing", "accumulate_schema"): AccumulateConfig,
    ("mixing", "accumulate_subsample_schema"): AccumulateSubsampleConfig,
    ("mixing", "window_schema"): WindowConfig,
    ("mixing", "fresh_schema"): FreshConfig,
    ("mixing", "custom_schema"): CustomConfig,
    ("metrics", "metrics_schema"): MetricsConfig,
    ("tracking", "tracking_schema"): TrackingConfig,
}


def register_schemas() -> None:
    """Makes the classes known to Hydra; every YAML file of a group begins by naming its schema."""
    for (group, name), schema in SCHEMAS.items():
        ConfigStore.instance().store(name=name, node=schema, group=group)


def from_hydra(tree: DictConfig) -> Config:
    """The composed tree as checked dataclasses. Raises `ConfigError` naming the key."""
    missing = sorted(OmegaConf.missing_keys(tree))
    if missing:
        raise ConfigError(missing[0], "???", "has no default: give a value")
    config = OmegaConf.to_object(tree)
    assert isinstance(config, Config)
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dicts, ready for JSON."""
    return asdict(config)


LOCAL_KEYS = (
    *("name", "output_dir", "store_dir", "num_generations", "num_probes", "tracking"),
    *("runtime.device", "runtime.compile", "runtime.cuda_graphs", "runtime.num_threads"),
    *("data.root", "data.download", "metrics.weights"),
    *("generator.sampling.batch_size", "generator.training.checkpoint_every", "generator.training.num_micro_batches"),
)
"""Where, how far and how fast a chain runs: what may differ between two runs of one and the same chain."""


def identity(config: Config | dict[str, Any]) -> dict[str, Any]:
    """The part of the configuration, or of its dict, that says which chain this is. A file is known by its name,
    wherever it lies."""
    tree = deepcopy(config) if isinstance(config, dict) else to_dict(config)
    for key in LOCAL_KEYS:
        group, _, leaf = key.rpartition(".")
        node = tree
        for step in group.split(".") if group else ():
            node = node.get(step, {})
        node.pop(leaf, None)
    if "path" in tree["data"]:
        tree["data"]["path"] = Path(tree["data"]["path"]).name
    return tree


def config_hash(config: Config | dict[str, Any]) -> str:
    """16 hex digits of the SHA-256 of the identity, as canonical JSON."""
    text = json.dumps(identity(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def chain_id(config: Config) -> str:
    """A folder name that a person can read: policy, its strength, seed, and the hash that makes it unique."""
    strength = ""
    for letter, name in (("r", "synthetic_ratio"), ("l", "synthetic_per_real")):
        value = getattr(config.mixing, name, None)
        if value is not None:
            strength = f"-{letter}{value:.2f}" if isinstance(value, float) else f"-{letter}schedule"
    return f"{config.mixing.policy}{strength}-seed{config.seed}-{config_hash(config)[:8]}"
