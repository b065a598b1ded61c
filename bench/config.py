"""The root of the configuration, and the base class of the components of each group.

Hydra composes YAML into a tree whose shape and types are defined by dataclasses: `Config` below, and one `Config` in
the module of every component, found by `bench.registry`. An unknown key or a wrong type is rejected while composing.
`from_hydra` turns the tree into instances and checks every value with `bench.options.check`. After that no code sees a
`DictConfig`. Nothing here imports torch, so a mistake is reported in well under a second.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from bench import registry
from bench.errors import ConfigError, raise_all
from bench.options import check, default_of, fields_by_name, identifying, local_keys, option

SCHEMA = 1
"""Part of every chain's identity and of the keys of stages, which leave out values that equal their default. Raise it
when the default of an existing field changes, so that no old result has the identity of a new one."""


@dataclass
class DataConfig:
    """The settings that all data sets share. Items are split by a seeded hash of their source ids: `num_heldout` items
    are set aside for scoring, and the next `num_train` (null: all that are left) are the real pool."""

    name: str = MISSING
    resolution: int = option(64, at_least=8, at_most=1024)
    num_train: int | None = option(None, at_least=2)
    num_heldout: int = option(1024, at_least=2)
    split_seed: int = 0


@dataclass
class GeneratorConfig:
    """A generator. It offers `fit`, `sample` and optionally `risk`; see bench/generators/__init__.py."""

    name: str = MISSING


@dataclass
class MixingConfig:
    """A mixing policy. Its parameters are the other fields of its class."""

    policy: str = MISSING


@dataclass
class SelectionConfig:
    """The rule that keeps some of the samples before they become a pool. none: all samples are kept."""

    name: str = "none"


@dataclass
class VettingConfig:
    """The rule that drops items of a composition after it is drawn. none: nothing is dropped."""

    name: str = "none"


@dataclass
class WatermarkConfig:
    """The watermark that samples carry. none: no watermark."""

    name: str = "none"


@dataclass
class KeyedWatermarkConfig(WatermarkConfig):
    """The settings that all watermarks share. key: the key of the generator's owner. keys: `one`: one key for
    the whole chain; `per_generation`: another key, derived from `key`, for the samples of each generation."""

    key: int = option(0, at_least=0)
    keys: str = option("one", one_of=("one", "per_generation"))


@dataclass
class RemedyConfig:
    """The remedy: the model that a generation's samples are drawn from instead of its trained model. none: they are
    drawn from the trained model."""

    name: str = "none"


@dataclass
class SelfTrainingConfig(RemedyConfig):
    """The settings that all remedies share: the trained model is trained for `num_steps` steps on `num_samples` of its
    own samples, with new optimiser moments and a constant learning rate. learning_rate_factor: that rate as a share of
    the generator's learning rate."""

    num_samples: int = option(1024, at_least=1)
    num_steps: int = option(100, at_least=1)
    learning_rate_factor: float = option(0.05, above=0)


@dataclass
class VettingRuleConfig(VettingConfig):
    """The settings that all vetting rules share. refill: whether to replace dropped items with items of the chain's
    real pool that the composition did not draw, as far as there are any."""

    refill: bool = False


MOST_OF_A_NAME = 200
"""Largest length of a sweep's name, in bytes. File systems allow 255."""
REFERENCES = ("heldout", "real_train", "training")


@dataclass
class MetricsConfig:
    """The scores. feature_space, scores: a feature space or score family is a file in bench/features or bench/metrics,
    or a user-defined `module:function`. Score families are computed against the held-out items. Families that only
    compare two sets are also computed against each of the other `references`. num_images: the number of items N that
    are scored, the same on both sides. k: the number of neighbours of the k-NN manifolds. options: family name ->
    options of the family. num_resamples: the number of half-samples of the items for a standard deviation of each
    score; 0: none. num_resplits: the number of random splits of the real items for the 95 % interval of the floor; 0:
    none. weights: a local file with the weights of the feature extractor, for machines without network; null: the
    default weights. extra_spaces: further feature spaces for the families that only compare two sets, for example for
    FID in DINOv2 features. extra_weights: extra space -> local file with its weights."""

    feature_space: str = "efficientnet_lite0"
    num_images: int = option(1024, at_least=2)
    k: int = option(3, at_least=1)
    scores: list[str] = option(["frechet", "kernel", "manifold", "diversity", "copying", "tails"])
    references: list[str] = option(["heldout"], some_of=REFERENCES)
    options: dict[str, Any] = option({})
    num_resamples: int = option(0, at_least=0)
    num_resplits: int = option(10, at_least=0)
    weights: str | None = option(None, local=True)
    extra_spaces: list[str] = option([])
    extra_weights: dict[str, str] = option({}, local=True)

    def validate(self) -> None:
        raise_all(self._mistakes())

    def _mistakes(self) -> Iterator[ConfigError]:
        if self.k >= self.num_images:
            yield ConfigError("k", self.k, f"must lie in [1, {self.num_images - 1}], below metrics.num_images")
        if "heldout" not in self.references:
            yield ConfigError("references", self.references, "must have heldout")
        if self.num_resamples == 1:
            yield ConfigError("num_resamples", 1, "must be 0, or at least 2 for a standard deviation")
        if self.num_resplits == 1:
            yield ConfigError("num_resplits", 1, "must be 0, or at least 2 for an interval")
        if not self.scores or len(set(self.scores)) < len(self.scores):
            yield ConfigError("scores", self.scores, "must be different score families, at least one")
        for key, package, values in (
            ("scores", registry.SCORES, self.scores),
            ("feature_space", registry.FEATURES, [self.feature_space]),
            ("extra_spaces", registry.FEATURES, self.extra_spaces),
        ):
            unknown = [name for name in values if name.count(":") != 1 and name not in registry.names(package)]
            if unknown:
                allowed = ", ".join(registry.names(package))
                yield ConfigError(key, unknown[0], f"must be one of {allowed}, or module:function")
        spaces = [self.feature_space, *self.extra_spaces]
        if len(set(spaces)) < len(spaces):
            yield ConfigError("extra_spaces", self.extra_spaces, f"must be different, and not {self.feature_space} too")
        unused = sorted(set(self.extra_weights) - set(self.extra_spaces))
        if unused:
            yield ConfigError("extra_weights", unused[0], f"is none of metrics.extra_spaces, {self.extra_spaces}")
        known = {name.partition(":")[0] for name in (*self.scores, *registry.names(registry.SCORES))}
        foreign = sorted(set(self.options) - known)
        if foreign:
            yield ConfigError("options", foreign[0], f"is no score family; there are {', '.join(sorted(known))}")


@dataclass
class TrackingConfig:
    """tracker: `none`, or `wandb`, which is online if an API key is present and offline otherwise."""

    tracker: str = option("none", one_of=("none", "wandb"), local=True)
    project: str = option("diffusion-collapse", local=True)
    entity: str | None = option(None, local=True)


@dataclass
class RuntimeConfig:
    """Where and how a chain runs. device: auto uses CUDA if there is a CUDA device, and logs the choice. precision:
    auto is bf16 autocast if the hardware has bf16 arithmetic; fp32 is float32 everywhere, never TF32. compile: null
    compiles networks on CUDA, if the machine can and the training is long enough to gain from it. cuda_graphs: whether
    compiled networks are recorded and replayed as CUDA graphs, which is faster for networks so small that launching
    their kernels takes longer than running them. null: only networks of at most 4 million parameters, if replays of a
    probe network give the same values as plain code on this device; if not, the log and the ledger say why. Every
    network records its own graphs, which stay until the process ends. torch records at most 128; after that it raises
    an error with true, and records no more with null. deterministic: whether the same command on the same kind of GPU
    and software gives the same bytes, at the price of speed; on the CPU it always does. ordered_gradients: whether
    processes that share batches sum their gradients in the order of their ranks, which is slower but exactly equal to
    one process with as many micro-batches."""

    device: str = option("auto", local=True)
    precision: str = option("auto", one_of=("auto", "fp32", "bf16"))
    compile: bool | None = option(None, local=True)
    cuda_graphs: bool | None = option(None, local=True)
    deterministic: bool = option(False, local=True)
    num_threads: int | None = option(None, at_least=1, local=True)
    ordered_gradients: bool = option(False, local=True)

    def validate(self) -> None:
        if self.device not in ("auto", "cpu", "cuda") and not self.device.startswith("cuda:"):
            raise ConfigError("device", self.device, "must be auto, cpu, cuda or cuda:<index>")


@dataclass
class ProtocolConfig:
    """A named, versioned, frozen set of values. If name is null, there is no protocol, and the numbers cannot be cited
    as those of one.

    free: the keys that a chain of the protocol may set -> the values that they may take (empty: any).
    strict: whether a deviation from the frozen values is an error, or is allowed and recorded in every ledger row.
    deviations: key -> [frozen value, value of this chain], filled in by `bench.protocols`.
    """

    name: str | None = None
    version: int | None = None
    free: dict[str, list[Any]] = option({})
    strict: bool = True
    deviations: dict[str, list[Any]] = option({})

    def validate(self) -> None:
        if (self.name is None) != (self.version is None):
            raise ConfigError("version", self.version, "a protocol has both a name and a version")


@dataclass
class JoinConfig:
    """A newcomer: a chain that begins after an earlier chain and uses some of that chain's samples as real items.
    chain: the folder of the earlier chain, or of a sweep that contains exactly one chain with the same seed and mixing;
    null: there is no earlier chain, and the real pool is real. generation: the generation of the earlier chain after
    which the newcomer begins. ratio: the share of the newcomer's real pool that is samples; null: the synthetic ratio
    of the set on which the earlier chain trained its next generation. samples_of: whether the samples are those of
    `generation` alone (last), or of all generations up to it in equal parts (all)."""

    chain: str | None = option(None, file=True)
    generation: int = option(0, at_least=0)
    ratio: float | None = option(None, at_least=0, at_most=1)
    samples_of: str = option("last", one_of=("last", "all"))

    def validate(self) -> None:
        if self.chain is None and self != JoinConfig():
            raise ConfigError("chain", None, "which chain is joined? Give its folder")


@dataclass
class Config:
    """One chain. name: the sweep that the chain belongs to. num_generations: the number of generations, including
    generation 0. num_samples: the number of samples in the pool of each generation. null: twice as many as generation 0
    trains on, so that copies can be detected by comparison with the samples that are not drawn; with a selection, as
    many as generation 0 trains on; never fewer than are scored. warm_start: whether training continues from the
    previous generation's weights. retrain_epochs, retrain_steps: how long generations from 1 on train, in passes over
    their items or in steps; both null: as long as generation 0. num_probes: the number of items that are drawn from the
    same noise in every generation."""

    name: str = option(local=True)
    seed: int = option(0, at_least=0)
    num_generations: int = option(4, at_least=1, local=True)
    num_samples: int | None = option(None)
    warm_start: bool = False
    retrain_epochs: float | None = option(None, above=0)
    retrain_steps: int | None = option(None, at_least=1)
    num_probes: int = option(16, at_least=1, at_most=1024, local=True)
    output_dir: str = option("outputs", local=True)
    store_dir: str = option("${output_dir}/store", local=True)
    data: DataConfig = MISSING
    generator: GeneratorConfig = MISSING
    mixing: MixingConfig = MISSING
    selection: SelectionConfig = option(SelectionConfig)
    vetting: VettingConfig = option(VettingConfig)
    watermark: WatermarkConfig = option(WatermarkConfig)
    remedy: RemedyConfig = option(RemedyConfig)
    join: JoinConfig = option(JoinConfig)
    metrics: MetricsConfig = option(MetricsConfig)
    tracking: TrackingConfig = option(TrackingConfig)
    runtime: RuntimeConfig = option(RuntimeConfig)
    protocol: ProtocolConfig = option(ProtocolConfig)

    def validate(self) -> None:
        raise_all(self._mistakes())

    def _mistakes(self) -> Iterator[ConfigError]:
        if not self.name or "/" in self.name or self.name.startswith("."):
            yield ConfigError("name", self.name, "must be a plain folder name")
        if len(self.name.encode(errors="replace")) > MOST_OF_A_NAME or not self.name.isprintable():
            shown = self.name if len(self.name) <= 50 else f"{self.name[:50]}…"
            yield ConfigError("name", shown, f"must be at most {MOST_OF_A_NAME} bytes that can be printed")
        for group, room in registry.ROOMS.items():
            component = getattr(self, group)
            given = getattr(component, room.discriminator)
            own = default_of(fields_by_name(type(component))[room.discriminator])
            if given != own:
                key = f"{group}.{room.discriminator}"
                yield ConfigError(key, given, f"is {own!r} here; choose with {group}=…, your own with {group}=custom")
        if self.retrain_steps is not None and self.retrain_epochs is not None:
            allowed = f"retrain_epochs is {self.retrain_epochs:g}: one of the two must be null"
            yield ConfigError("retrain_steps", self.retrain_steps, allowed)
        num_images = self.metrics.num_images
        if self.data.num_train is not None and num_images > self.data.num_train:
            yield ConfigError(
                "metrics.num_images",
                num_images,
                f"the real-vs-real floor needs as many real images, and data.num_train is {self.data.num_train}",
            )
        if self.num_samples is not None and self.num_samples < num_images:
            yield ConfigError("num_samples", self.num_samples, f"scores need metrics.num_images={num_images} of them")
        for name in ("synthetic_ratio", "synthetic_per_real"):
            schedule = getattr(self.mixing, name, None)
            if isinstance(schedule, list) and len(schedule) != self.num_generations - 1:
                yield ConfigError(
                    f"mixing.{name}",
                    schedule,
                    f"a schedule needs {self.num_generations - 1} entries, one per generation from 1 on",
                )
        if num_images > self.data.num_heldout:
            yield ConfigError(
                "metrics.num_images",
                num_images,
                f"scores use N held-out images, and data.num_heldout is {self.data.num_heldout}",
            )


GROUPS: dict[str, type] = {
    "data": DataConfig,
    "generator": GeneratorConfig,
    "mixing": MixingConfig,
    "selection": SelectionConfig,
    "vetting": VettingConfig,
    "watermark": WatermarkConfig,
    "remedy": RemedyConfig,
}
"""Groups whose options are components: group -> base class, whose fields all its components have."""


def schemas() -> Iterator[tuple[str | None, str, type]]:
    """Yield (group, name, class) for each schema that a YAML file can name in `defaults: [NAME_schema, _self_]`."""
    yield None, "config", Config
    yield "metrics", "metrics", MetricsConfig
    yield "tracking", "tracking", TrackingConfig
    for group in GROUPS:
        for name in (*registry.names(registry.ROOMS[group].package), registry.CUSTOM, registry.NONE):
            schema = registry.schema(group, name)
            if schema is not None:
                yield group, name, schema


def register_schemas() -> None:
    """Register the classes with Hydra, because every YAML file of a group begins by naming its schema. Also register
    the resolver `name_by_data`, which names a sweep after its data set unless it is the default data set of the
    experiment."""
    OmegaConf.register_new_resolver("name_by_data", lambda name, own, data: name if data == own else data, replace=True)
    for group, name, schema in schemas():
        ConfigStore.instance().store(name=f"{name}_schema", node=schema, group=group)


def from_hydra(tree: DictConfig) -> Config:
    """Return the composed tree as checked dataclasses. Raises `ConfigError` that names the wrong key or keys."""
    missing = [ConfigError(key, "???", "has no default: give a value") for key in sorted(OmegaConf.missing_keys(tree))]
    raise_all([*missing, *unknown_keys(tree)])
    config = OmegaConf.to_object(tree)
    assert isinstance(config, Config)
    check(config)
    return config


def unknown_keys(tree: DictConfig) -> list[ConfigError]:
    """Return an error, with the most similar keys, for every unknown key, which Hydra lets `+key=value` add."""
    known: set[str] = set()
    given: list[str] = []

    def walk(node: DictConfig, prefix: str) -> None:
        schema = OmegaConf.get_type(node)
        if not is_dataclass(schema):
            return  # a dict of free keys, such as mixing.parameters
        names = fields_by_name(schema)
        known.update(f"{prefix}{name}" for name in names)
        for name in map(str, node):
            if name not in names:
                given.append(f"{prefix}{name}")
            elif not OmegaConf.is_missing(node, name) and isinstance(child := node[name], DictConfig):
                walk(child, f"{prefix}{name}.")

    walk(tree, "")
    errors = []
    for key in given:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "python -m bench --help lists all options"
        errors.append(ConfigError(key, OmegaConf.select(tree, key), f"there is no such option; {hint}"))
    return errors


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain nested dicts, ready for JSON."""
    return asdict(config)


def identity(config: Config | dict[str, Any], *, with_defaults: bool = False) -> dict[str, Any]:
    """Return the part of the configuration, or of its dict, that identifies the chain. Values that equal the default of
    their class are left out unless `with_defaults`."""
    tree = config if isinstance(config, dict) else to_dict(config)
    kept = identifying(tree, Config, with_defaults=with_defaults)
    for group, room in registry.ROOMS.items():
        part = tree.get(group, {})
        name = part.get(room.discriminator, registry.NONE)
        schema = registry.schema(group, name) or GROUPS[group]
        own = identifying(part, schema, with_defaults=with_defaults)
        if name != registry.NONE or with_defaults:
            own[room.discriminator] = name
        kept.pop(group, None)
        kept |= {group: own} if own else {}
    return kept


def all_local_keys() -> tuple[str, ...]:
    """Return the dotted keys in which two runs of one chain may differ, over all components."""
    keys = dict.fromkeys(local_keys(Config))
    for group, _, schema in schemas():
        keys |= dict.fromkeys(local_keys(schema, f"{group}." if group else ""))
    return tuple(keys)


def config_hash(config: Config | dict[str, Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of the identity and `SCHEMA` as canonical JSON."""
    values = {**identity(config), "schema": SCHEMA}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def chain_id(config: Config) -> str:
    """Return a readable folder name: the policy, its ratio, the seed, and 8 hex digits of `config_hash`."""
    strength = ""
    for letter, name in (("r", "synthetic_ratio"), ("l", "synthetic_per_real")):
        value = getattr(config.mixing, name, None)
        if value is not None:
            strength = f"-{letter}{value:.2f}" if isinstance(value, float) else f"-{letter}schedule"
    return f"{config.mixing.policy}{strength}-seed{config.seed}-{config_hash(config)[:8]}"
