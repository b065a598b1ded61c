"""The configuration tree: what is composed, what is rejected and how it is named, what makes two chains one."""

import re
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import configs as c
import pytest
from echo import small
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from shrunk import composed

from bench.config import Config, chain_id, config_hash, to_dict
from bench.errors import ConfigError
from bench.flatten import flatten

CONF = Path(__file__).parent.parent / "conf"
TINY_FLOAT = 1e-9


@pytest.mark.parametrize(
    "override", ["mixing.synthetic_raio=1", "seed=one", "generator.unet.chanels=[8]", "data.padding=1", "nonsense=1"]
)
def test_unknown_keys_and_wrong_types_are_named_while_composing(override):
    with pytest.raises((HydraException, OmegaConfBaseException)) as error:
        composed(override)
    key = override.split("=")[0].split(".")[-1]
    assert key in str(error.value) + str(error.value.__cause__)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=-1", "seed"),
        ("num_generations=0", "num_generations"),
        ("data.resolution=4", "data.resolution"),
        ("data.kind=cars", "data.kind"),
        ("mixing.synthetic_ratio=1.5", "mixing.synthetic_ratio"),
        ("mixing.synthetic_ratio=[0.1]", "mixing.synthetic_ratio"),
        ("metrics.num_images=5000", "metrics.num_images"),
        ("metrics.k=0", "metrics.k"),
        ("generator.unet.channels=[30,60,60]", "generator.unet.channels"),
        ("generator.sampling.num_steps=2000", "generator.sampling.num_steps"),
        ("generator.sampling.eta=0.5", "generator.sampling.eta"),
        ("generator.noise.prediction=noise", "generator.noise.prediction"),
        ("runtime.device=tpu", "runtime.device"),
        ("tracking.tracker=neptune", "tracking.tracker"),
        ("num_samples=10", "num_samples"),
        ("name=a/b", "name"),
        ("data=npz", "data.path"),
    ],
)
def test_values_out_of_range_are_named(override, key):
    with pytest.raises(ConfigError) as error:
        composed(override)
    assert error.value.key == key
    assert str(error.value).startswith(f"{key}=")


EDGES: list[tuple[type, str, str, list[Any], list[Any]]] = [
    (c.NpzConfig, "data.resolution", "resolution", [8, 1024], [7, 1025]),
    (c.NpzConfig, "data.num_train", "num_train", [2, None], [1]),
    (c.NpzConfig, "data.num_heldout", "num_heldout", [2], [1]),
    (c.ProceduralConfig, "data.kind", "kind", ["flowers", "birds"], ["Flowers", ""]),
    (c.ProceduralConfig, "data.resolution", "resolution", [8], [7]),
    (c.ProceduralConfig, "data.num_train", "num_train", [2], [1, None]),
    (c.ProceduralConfig, "data.num_reserve", "num_reserve", [0], [-1]),
    (c.ProceduralConfig, "data.num_calibration", "num_calibration", [0], [-1]),
    (c.Cub200Config, "data.padding", "padding", [0.0, 2.0], [-TINY_FLOAT, 2.0 + TINY_FLOAT]),
    (c.Cub200Config, "data.num_heldout", "num_heldout", [2], [1]),
    (
        c.UNetConfig,
        "generator.unet.channels",
        "channels",
        [[8, 16, 24, 8]],
        [[0, 8, 8, 8], [8, 8, 8, 12], [4, 8, 8, 8]],
    ),
    (c.UNetConfig, "generator.unet.attention", "attention", [[True] * 4], [[True] * 3, [True] * 5]),
    (c.UNetConfig, "generator.unet.layers_per_block", "layers_per_block", [1], [0]),
    (c.UNetConfig, "generator.unet.attention_head_dim", "attention_head_dim", [8], [7]),
    (c.UNetConfig, "generator.unet.dropout", "dropout", [0.0, 0.9], [-TINY_FLOAT, 0.9 + TINY_FLOAT]),
    (c.NoiseConfig, "generator.noise.num_timesteps", "num_timesteps", [2], [1]),
    (
        c.NoiseConfig,
        "generator.noise.beta_schedule",
        "beta_schedule",
        ["linear", "scaled_linear", "squaredcos_cap_v2"],
        ["cosine"],
    ),
    (c.NoiseConfig, "generator.noise.prediction", "prediction", ["epsilon", "sample", "v_prediction", "edm"], ["v"]),
    (c.NoiseConfig, "generator.noise.min_snr_gamma", "min_snr_gamma", [None, TINY_FLOAT], [0.0, -1.0]),
    (c.TrainingConfig, "generator.training.num_steps", "num_steps", [1], [0]),
    (c.TrainingConfig, "generator.training.num_epochs", "num_epochs", [None, 0.5], [0.0]),
    (c.TrainingConfig, "generator.training.batch_size", "batch_size", [1], [0]),
    (c.TrainingConfig, "generator.training.num_micro_batches", "num_micro_batches", [1, 128], [0, 129]),
    (c.TrainingConfig, "generator.training.learning_rate", "learning_rate", [TINY_FLOAT], [0.0, float("nan")]),
    (c.TrainingConfig, "generator.training.warmup_steps", "warmup_steps", [0], [-1]),
    (c.TrainingConfig, "generator.training.decay", "decay", ["none", "linear", "cosine"], ["exponential"]),
    (c.TrainingConfig, "generator.training.weight_decay", "weight_decay", [0.0], [-TINY_FLOAT, float("nan")]),
    (c.TrainingConfig, "generator.training.ema_decay", "ema_decay", [0.0, 0.999999], [-TINY_FLOAT, 1.0]),
    (c.TrainingConfig, "generator.training.gradient_clip", "gradient_clip", [TINY_FLOAT], [0.0]),
    (c.TrainingConfig, "generator.training.checkpoint_every", "checkpoint_every", [1], [0]),
    (
        c.SamplingConfig,
        "generator.sampling.sampler",
        "sampler",
        ["ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++", "euler", "heun"],
        ["dpm"],
    ),
    (c.EDMConfig, "generator.noise.edm.sigma_data", "sigma_data", [1.0], [0.0, 1.1]),
    (c.EDMConfig, "generator.noise.edm.log_sigma_mean", "log_sigma_mean", [-10.0, 10.0], [-10.1, 10.1]),
    (c.EDMConfig, "generator.noise.edm.log_sigma_deviation", "log_sigma_deviation", [10.0], [0.0, 10.1]),
    (c.SigmaConfig, "generator.sampling.sigma.least", "least", [TINY_FLOAT], [0.0]),
    (c.SigmaConfig, "generator.sampling.sigma.rho", "rho", [TINY_FLOAT], [0.0]),
    (c.TimeConfig, "generator.time.distribution", "distribution", ["uniform", "logit_normal"], ["normal"]),
    (c.FlowSamplingConfig, "generator.sampling.sampler", "sampler", ["euler", "heun"], ["ddim"]),
    (c.FlowSamplingConfig, "generator.sampling.num_steps", "num_steps", [1, 10_000], [0, 10_001]),
    (c.FlowSamplingConfig, "generator.sampling.spacing", "spacing", ["cosine", "uniform"], ["quadratic"]),
    (c.FlowSamplingConfig, "generator.sampling.temperature", "temperature", [0.0, 2.0], [-TINY_FLOAT, 2.1]),
    (c.SamplingConfig, "generator.sampling.num_steps", "num_steps", [1], [0]),
    (c.SamplingConfig, "generator.sampling.eta", "eta", [0.0], [-TINY_FLOAT, 0.1, 1.1]),
    (c.SamplingConfig, "generator.sampling.temperature", "temperature", [0.0, 2.0], [-TINY_FLOAT, 2.0 + TINY_FLOAT]),
    (c.SamplingConfig, "generator.sampling.batch_size", "batch_size", [1], [0]),
    (c.ReplaceConfig, "mixing.num_images", "num_images", [None, 1], [0]),
    (c.BlendConfig, "mixing.synthetic_ratio", "synthetic_ratio", [0, 1, [0, 1]], [-TINY_FLOAT, 1 + TINY_FLOAT, None]),
    (c.BlendConfig, "mixing.real_part", "real_part", ["fixed", "redrawn"], ["kept"]),
    (c.AugmentConfig, "mixing.synthetic_per_real", "synthetic_per_real", [0, 100, [0, 100]], [-1, 100.1, [0, 101]]),
    (c.WindowConfig, "mixing.synthetic_ratio", "synthetic_ratio", [0, 1], [1.1]),
    (c.WindowConfig, "mixing.num_generations", "num_generations", [1], [0]),
    (c.FreshConfig, "mixing.synthetic_ratio", "synthetic_ratio", [0, 1], [1.1, []]),
    (c.RealOnlyConfig, "mixing.synthetic_ratio", "synthetic_ratio", [0, 0.99, [0, 0.9]], [1, 1.1, [0, 1]]),
    (c.RealOnlyConfig, "mixing.real_part", "real_part", ["fixed", "redrawn"], ["kept"]),
    (c.CustomMixingConfig, "mixing.function", "function", ["a:b"], ["a", "a:b:c", ""]),
    (c.MetricsConfig, "metrics.feature_space", "feature_space", ["dinov2", "a:b"], ["resnet", "a:b:c"]),
    (c.MetricsConfig, "metrics.num_images", "num_images", [4], [1]),
    (c.MetricsConfig, "metrics.k", "k", [1, 1023], [0, 1024]),
    (c.MetricsConfig, "metrics.scores", "scores", [["tails"]], [[], ["frechet", "frechet"], ["frechet", "lpips"]]),
    (
        c.MetricsConfig,
        "metrics.references",
        "references",
        [["training", "heldout"]],
        [[], ["training"], ["heldout", "heldout"], ["heldout", "reserve"]],
    ),
    (c.MetricsConfig, "metrics.num_resamples", "num_resamples", [0, 2], [1, -1]),
    (c.TrackingConfig, "tracking.tracker", "tracker", ["none", "wandb"], ["mlflow"]),
    (c.RuntimeConfig, "runtime.device", "device", ["auto", "cpu", "cuda", "cuda:1"], ["cuda1", "mps"]),
    (c.RuntimeConfig, "runtime.precision", "precision", ["auto", "fp32", "bf16"], ["fp16"]),
    (c.RuntimeConfig, "runtime.num_threads", "num_threads", [None, 1], [0]),
    (Config, "seed", "seed", [0], [-1]),
    (Config, "name", "name", ["a.b"], ["", ".hidden", "a/b"]),
    (Config, "num_generations", "num_generations", [1], [0]),
    (Config, "num_probes", "num_probes", [1], [0]),
    (Config, "retrain_epochs", "retrain_epochs", [None, 0.5], [0.0]),
    (Config, "retrain_steps", "retrain_steps", [None, 1], [0]),
    (Config, "num_samples", "num_samples", [None, 16], [15]),
]
"""Schema, key, field, what is allowed at its edges, what just beyond them."""


def checked(schema: type, key: str, **values: Any) -> Any:
    """The values as a checked instance of their schema; key: of any of them."""
    return small(Path("unused"), **values) if schema is Config else c.checked(schema(**values), key.rpartition(".")[0])


@pytest.mark.parametrize(("schema", "key", "name", "allowed", "refused"), EDGES, ids=lambda value: str(value)[:40])
def test_each_range_ends_where_it_says(schema, key, name, allowed, refused):
    given = {c.NpzConfig: {"path": "x.npz"}, c.CustomMixingConfig: {"function": "a:b"}}.get(schema, {})
    for value in allowed:
        assert getattr(checked(schema, key, **given | {name: value}), name) == value
    for value in refused:
        with pytest.raises(ConfigError, match=f"^{re.escape(key)}=") as error:
            checked(schema, key, **given | {name: value})
        assert error.value.key == key


def test_every_source_has_the_ranges_of_all():
    for schema in (c.NpzConfig, c.FolderConfig, c.Flowers102Config, c.Cub200Config, c.ProceduralConfig):
        given = {"path": "x"} if schema in (c.NpzConfig, c.FolderConfig) else {}
        for name, value in (("resolution", 7), ("num_heldout", 1), ("num_train", 1)):
            with pytest.raises(ConfigError, match=rf"data\.{name}"):
                c.checked(schema(**given | {name: value}), "data")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"data": c.ProceduralConfig(resolution=8, num_train=15, num_heldout=16)}, "metrics.num_images"),
        ({"data": c.ProceduralConfig(resolution=8, num_train=16, num_heldout=15)}, "metrics.num_images"),
        ({"mixing": c.BlendConfig(synthetic_ratio=[0.5] * 4)}, "mixing.synthetic_ratio"),
        ({"mixing": c.AugmentConfig(synthetic_per_real=[0.5] * 2)}, "mixing.synthetic_per_real"),
        ({"mixing": c.FreshConfig(synthetic_ratio=[0.5] * 2)}, "mixing.synthetic_ratio"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(changes, key):
    with pytest.raises(ConfigError) as error:
        small(Path("unused"), **changes)
    assert error.value.key == key


def test_parts_that_just_fit_together_are_allowed():
    data = c.ProceduralConfig(resolution=8, num_train=16, num_heldout=16)
    config = small(Path("unused"), data=data, num_samples=16, mixing=c.BlendConfig(synthetic_ratio=[0.5] * 3))
    assert config.metrics.num_images == 16
    assert small(Path("unused"), data=c.NpzConfig(path="x", num_train=None)).data.num_train is None
    c.checked(c.DDPMConfig(noise=c.NoiseConfig(num_timesteps=25)), "generator")
    with pytest.raises(ConfigError, match=r"generator\.sampling\.num_steps=25: at most 24"):
        c.checked(c.DDPMConfig(noise=c.NoiseConfig(num_timesteps=24)), "generator")
    assert c.checked(c.SamplingConfig(sampler="ddim", eta=1.0)).eta == 1.0


@pytest.mark.parametrize(("name", "version"), [("mine", None), (None, 1)])
def test_a_protocol_has_both_a_name_and_a_version(name, version):
    with pytest.raises(ConfigError, match=r"protocol\.version"):
        c.checked(c.ProtocolConfig(name=name, version=version), "protocol")


# -------------------------------------------------------------------------------------------------------- identity


MAY_DIFFER = {
    *("name", "output_dir", "store_dir", "num_generations", "num_probes"),
    *("tracking.tracker", "tracking.project", "tracking.entity"),
    *("runtime.device", "runtime.compile", "runtime.cuda_graphs", "runtime.deterministic", "runtime.num_threads"),
    "runtime.ordered_gradients",
    *("data.root", "data.download", "metrics.weights", "metrics.extra_weights"),
    *("generator.sampling.batch_size", "generator.training.checkpoint_every"),
    "generator.training.num_micro_batches",
}
"""Where, how far and how fast one and the same chain runs. All else changes its numbers."""

SOURCES = [
    c.ProceduralConfig(resolution=8, num_train=20, num_heldout=24),
    c.Flowers102Config(),
    c.Cub200Config(),
    c.NpzConfig(path="/a/x.npz"),
    c.FolderConfig(path="/a/x"),
]
POLICIES = [
    c.ReplaceConfig(),
    c.BlendConfig(),
    c.AugmentConfig(),
    c.WindowConfig(),
    c.FreshConfig(),
    c.RealOnlyConfig(),
    c.CustomMixingConfig(function="a:b", parameters={"share": 0.5}),
]
TREES = [small(Path("/o"), data=data) for data in SOURCES] + [small(Path("/o"), mixing=mixing) for mixing in POLICIES]


def defaults(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every value that a configuration has where nothing is given. The component itself has to be given."""
    found: dict[str, Any] = {}
    for f in fields(config):
        value, key = getattr(config, f.name), f"{prefix}{f.name}"
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if is_dataclass(value):
            found |= defaults(value, f"{key}.")
        elif key not in ("data.name", "generator.name", "mixing.policy"):
            found |= flatten({key: default}) if isinstance(default, dict) else {key: default}
    return found


@pytest.mark.parametrize("config", TREES, ids=lambda config: f"{config.data.name} {config.mixing.policy}")
def test_a_chain_is_known_by_everything_that_changes_its_numbers_and_by_nothing_else(config):
    tree = to_dict(config)
    leaves = flatten(tree)
    assert config_hash(tree) == config_hash(config) and re.fullmatch("[0-9a-f]{16}", config_hash(tree))
    assert flatten(tree) == leaves, "the hash has changed what it was given"
    for key in leaves:
        other = deepcopy(tree)
        node = other
        *groups, leaf = key.split(".")
        for group in groups:
            node = node[group]
        node[leaf] = "another value"
        assert (config_hash(other) == config_hash(tree)) == (key in MAY_DIFFER), key
        del node[leaf]  # of an older version, which did not have the option: then its default applies
        assert (config_hash(other) == config_hash(tree)) == (
            key in MAY_DIFFER or leaves[key] == defaults(config).get(key)
        )


def test_a_data_file_is_known_by_its_name_wherever_it_lies():
    base = small(Path("/o"))
    for source in (c.NpzConfig, c.FolderConfig):
        one, two, other = (replace(base, data=source(path=path)) for path in ("/a/x.npz", "/b/x.npz", "/a/y.npz"))
        assert config_hash(one) == config_hash(two) != config_hash(other)


def test_a_whole_number_and_the_same_one_with_a_point_are_one_ratio():
    for ints, floats in ((0, 0.0), ([0, 1, 1], [0.0, 1.0, 1.0])):
        one, other = (small(Path("/o"), mixing=c.BlendConfig(synthetic_ratio=ratio)) for ratio in (ints, floats))
        assert chain_id(one) == chain_id(other)


def test_the_hash_is_of_canonical_json():
    tree = to_dict(small(Path("/o")))
    assert config_hash(dict(reversed(tree.items()))) == config_hash(tree)
    with pytest.raises(ValueError, match="JSON"):
        config_hash(tree | {"retrain_epochs": float("nan")})


@pytest.mark.parametrize(
    ("mixing", "beginning"),
    [
        (c.BlendConfig(synthetic_ratio=0.25), "blend-r0.25-seed5-"),
        (c.BlendConfig(synthetic_ratio=0), "blend-r0.00-seed5-"),
        (c.AugmentConfig(synthetic_per_real=12.5), "augment-l12.50-seed5-"),
        (c.FreshConfig(synthetic_ratio=[0.1, 0.2, 0.3]), "fresh-rschedule-seed5-"),
        (c.ReplaceConfig(), "replace-seed5-"),
    ],
)
def test_a_chain_is_called_by_policy_strength_seed_and_hash(mixing, beginning):
    config = small(Path("/o"), mixing=mixing)
    assert chain_id(config) == beginning + config_hash(config)[:8]


def test_what_is_composed_keeps_its_identity_on_another_machine():
    base = composed()
    for same in ("output_dir=/elsewhere", "generator.sampling.batch_size=7", "num_generations=9", "tracking=wandb"):
        assert chain_id(composed(same)) == chain_id(base), same
    for other in ("seed=1", "metrics.k=4", "mixing=replace"):
        assert config_hash(composed(other)) != config_hash(base), other


def test_every_experiment_and_protocol_begins_with_the_line_that_runs_it():
    for file in [*CONF.glob("experiment/*.yaml"), *CONF.glob("protocol/*.yaml")]:
        if file.stem != "none":
            header, command, *_ = file.read_text().splitlines()
            assert header == "# @package _global_", file
            assert file.stem in command or "make run" in command, file


def test_every_group_file_is_commented():
    for file in CONF.rglob("*.yaml"):
        assert "#" in file.read_text(), file


def test_a_mistake_is_reported_without_importing_torch():
    code = "import sys; sys.argv = ['bench', 'mixing.synthetic_ratio=2']\nfrom bench.__main__ import main\n"
    code += "try:\n    main()\nexcept SystemExit as e:\n    print(e.code, 'torch' in sys.modules)"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"], done.stderr
    assert "mixing.synthetic_ratio=2: must lie in [0, 1]" in done.stderr
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("override", "key", "hint"),
    [
        ("+foo=1", "foo", "--help lists all options"),
        ("+num_generation=1", "num_generation", "did you mean num_generations"),
        ("+data.num_trian=3", "data.num_trian", "did you mean data.num_train"),
        ("+generator.training.num_step=3", "generator.training.num_step", "generator.training.num_steps"),
        ("+mixing.ratio=0.3", "mixing.ratio", "there is no such option"),
    ],
)
def test_an_option_that_does_not_exist_is_refused_with_the_nearest_ones(override, key, hint):
    with pytest.raises(ConfigError, match=hint) as error:
        composed(override)
    assert error.value.key == key


def test_a_ratio_for_a_policy_without_one_is_refused():
    with pytest.raises(ConfigError, match=r"mixing\.synthetic_ratio=0\.3: there is no such option"):
        composed("mixing=replace", "+mixing.synthetic_ratio=0.3")


def test_keys_of_free_dicts_are_not_options():
    config = composed("metrics.options.kernel.subset_size=7", "+metrics.options.risk={}")
    assert config.metrics.options["kernel"]["subset_size"] == 7
