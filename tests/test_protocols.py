"""Protocols are frozen: their fingerprints are golden, deviations are refused, or recorded."""

import itertools
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import configs as c
import pytest
import torch
from echo import small
from hydra.core.global_hydra import GlobalHydra
from shrunk import TINY, composed
from small_mnist import publish
from torch.nn.functional import binary_cross_entropy_with_logits

from bench import code_versions, ledger, protocols
from bench.config import Config, ProtocolConfig
from bench.datasets import procedural
from bench.errors import ConfigError
from bench.features import pixels
from bench.generators import ddpm, vae
from bench.loop import run_chain
from bench.machine.console import Console
from bench.metrics import frechet
from bench.mixing import blend

OTHERS = ("none", "shumailov_opt")
FILES = sorted(f.stem for f in (Path(__file__).parent.parent / "conf/protocol").glob("*.yaml") if f.stem not in OTHERS)
HAS_LANGUAGE = find_spec("transformers") is not None and find_spec("datasets") is not None
NEEDS_LANGUAGE = pytest.mark.skipif(not HAS_LANGUAGE, reason="needs the extra `language`")
ALL = [*FILES, pytest.param("shumailov_opt", marks=NEEDS_LANGUAGE)]
RUN_EVERY_TIME = ("bertrand", "collapse_mini_v1", "gerstgrasser_accumulate", "khelifa_fresh", "mad_augmentation")
"""One of each kind of loop; the others are slow tests."""
GOLDEN = json.loads((Path(__file__).parent / "golden_protocols.json").read_text())


@pytest.mark.parametrize("file", ALL)
def test_changing_a_value_means_raising_the_version(file):
    """To add a protocol or a version, add its line to golden_protocols.json; never change a line that is there."""
    config = protocols.compose_protocol(file)
    assert config.protocol.name == file
    assert GOLDEN.get(f"{file} v{config.protocol.version}") == protocols.fingerprint(config)


def test_the_fingerprint_sees_every_value():
    a = protocols.compose_protocol("collapse_v1_flowers")
    seen = {protocols.fingerprint(a)}
    for override in ("generator.training.num_steps=7", "metrics.k=4", "num_generations=5", "protocol.free={seed:[0]}"):
        seen.add(protocols.fingerprint(composed("protocol=collapse_v1_flowers", override)))
    assert len(seen) == 5


def test_the_fingerprint_sees_the_code_of_every_stage(monkeypatch):
    config = protocols.compose_protocol("collapse_mini_v1")
    seen = {protocols.fingerprint(config)}
    for module, number in (
        (code_versions, "REAL_VERSION"),
        (code_versions, "SAMPLE_VERSION"),
        (code_versions, "SCORE_VERSION"),
        (procedural, "VERSION"),
        (blend, "VERSION"),
        (frechet, "VERSION"),
        (pixels, "VERSION"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, number, 99)
            seen.add(protocols.fingerprint(config))
    for stage in ("train", "sample"):
        with monkeypatch.context() as patch:
            patch.setitem(ddpm.VERSION, stage, 99)
            seen.add(protocols.fingerprint(config))
    assert len(seen) == 10


@pytest.mark.parametrize("file", ALL)
def test_a_protocol_leaves_no_number_to_what_the_device_offers(file):
    assert protocols.compose_protocol(file).runtime.precision in ("bf16", "fp32")


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("collapse")])
def test_the_commands_of_a_citable_default_are_allowed_and_cover_its_design(file):
    text = (Path(__file__).parent.parent / f"conf/protocol/{file}.yaml").read_text()
    arms = set()
    for line in [line for line in text.splitlines() if line.startswith("# python -m bench -m ")]:
        values = dict(word.split("=") for word in line.split()[5:])
        seeds = [int(seed) for seed in values.pop("seed").split(",")]
        choices = [[f"{key}={value}" for value in listed.split(",")] for key, listed in values.items()]
        for overrides in itertools.product(*choices):
            config = composed(*overrides, f"seed={seeds[-1]}")
            protocols.check(config)
            mixing = config.mixing
            of_arm = mixing.policy, getattr(mixing, "synthetic_ratio", None)
            arms |= {(*of_arm, seed, config.data.split_seed) for seed in seeds}
            assert set(seeds) <= set(config.protocol.free["seed"])
    ratios = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    wanted = {("blend", ratio, seed, 0) for ratio in ratios for seed in range(5)}
    wanted |= {("blend", ratio, seed, 1) for ratio in (0.0, 0.5, 1.0) for seed in range(5)}
    wanted |= {("real_only", ratio, seed, 0) for ratio in (0.25, 0.5, 0.75, 0.9) for seed in range(5)}
    wanted |= {(p, None, seed, 0) for p in ("accumulate", "accumulate_subsample") for seed in range(5)}
    assert arms == wanted


@pytest.mark.parametrize("file", ALL)
def test_a_protocol_alone_is_in_force_and_says_what_is_whose(file):
    config = composed(f"protocol={file}")
    protocols.check(config)
    assert config.protocol.deviations == {}
    text = (Path(__file__).parent.parent / f"conf/protocol/{file}.yaml").read_text()
    assert "Should reappear:" in text
    assert "ours" in text.lower()


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("generator.training.num_steps=7", "generator.training.num_steps"),
        ("mixing.synthetic_ratio=0.33", "mixing.synthetic_ratio"),
        ("seed=5", "seed"),
        ("num_generations=2", "num_generations"),
        ("data=cub200", "data."),
    ],
)
def test_a_deviation_is_refused_by_name(override, key):
    with pytest.raises(ConfigError, match="collapse_v1_flowers v1 allows") as error:
        protocols.check(composed("protocol=collapse_v1_flowers", override))
    assert error.value.key.startswith(key)


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=7", "protocol.free.seed=[7]"],
        ["generator.training.num_steps=5", "+protocol.free={generator.training.num_steps: []}"],
        ["protocol.version=99"],
    ],
)
def test_a_run_cannot_loosen_its_protocol(overrides):
    with pytest.raises(ConfigError, match="the protocol's own"):
        protocols.check(composed("protocol=collapse_v1_flowers", *overrides))


def test_an_unknown_protocol_is_named():
    with pytest.raises(ConfigError, match=r"protocol\.name='foo'"):
        protocols.check(composed("protocol.name=foo", "protocol.version=1"))


@pytest.mark.parametrize("override", ["mixing.synthetic_ratio=0.9", "seed=2", "runtime.device=cpu", "tracking=wandb"])
def test_free_and_local_keys_may_be_set(override):
    protocols.check(composed("protocol=collapse_v1_flowers", override))


# --------------------------------------------------------------------------------- against a protocol of the test's own


FREE = {"seed": [5, 6], "mixing.synthetic_ratio": [], "metrics.k": [3]}


def of_protocol(**changes: object) -> Config:
    protocol = ProtocolConfig(name="ours", version=2, free=dict(FREE))
    return small(Path("unused"), **{"protocol": protocol, **changes})


@pytest.fixture
def ours(monkeypatch) -> None:
    monkeypatch.setattr(protocols, "compose_protocol", lambda file: of_protocol() if file == "ours" else None)


def loose() -> ProtocolConfig:
    return ProtocolConfig(name="ours", version=2, free=dict(FREE), strict=False)


METRICS = small(Path("unused")).metrics


@pytest.mark.parametrize(
    ("changes", "deviations"),
    [
        ({}, {}),
        ({"seed": 6}, {}),
        ({"seed": 7}, {"seed": [5, 7]}),
        ({"mixing": c.BlendConfig(synthetic_ratio=0.123)}, {}),  # any
        ({"metrics": c.MetricsConfig(**{**vars(METRICS), "k": 4})}, {"metrics.k": [3, 4]}),
        (
            {"metrics": c.MetricsConfig(**{**vars(METRICS), "scores": ["frechet"]})},
            {"metrics.scores": [["frechet", "manifold"], ["frechet"]]},
        ),
        ({"num_generations": 3}, {"num_generations": [4, 3]}),
        ({"num_probes": 9, "output_dir": "elsewhere"}, {}),
        (
            {"mixing": c.ReplaceConfig(num_images=9)},
            {
                "mixing.policy": ["blend", "replace"],
                "mixing.num_images": [None, 9],
                "mixing.real_part": ["redrawn", None],
            },
        ),
        ({"seed": 9, "warm_start": True}, {"seed": [5, 9], "warm_start": [False, True]}),
    ],
)
def test_deviations_are_refused_or_recorded_as_wanted_and_got(changes, deviations, ours):
    allowed = of_protocol(**changes, protocol=loose())
    allowed.protocol.deviations = {"of": ["an", "earlier check"]}
    protocols.check(allowed)
    assert {k: v for k, v in allowed.protocol.deviations.items() if k != "mixing.synthetic_ratio"} == deviations
    strict = of_protocol(**changes)
    if not deviations:
        protocols.check(strict)
        assert strict.protocol.deviations == {}
        return
    first = min(deviations)
    with pytest.raises(ConfigError, match=f"protocol ours v2 allows .*{deviations[first][0]}") as error:
        protocols.check(strict)
    assert (error.value.key, error.value.value) == (first, deviations[first][1])
    assert strict.protocol.deviations == {}


def test_a_chain_of_no_protocol_is_not_checked(ours):
    config = small(Path("unused"), seed=99)
    protocols.check(config)
    assert config.protocol == ProtocolConfig()


@pytest.mark.parametrize("free", [{}, {**FREE, "seed": [5, 6, 7]}, {**FREE, "warm_start": []}])
def test_the_free_keys_are_the_protocols_own_even_where_deviations_are_allowed(free, ours):
    protocol = ProtocolConfig(name="ours", version=2, free=free, strict=False)
    with pytest.raises(ConfigError, match="the protocol's own"):
        protocols.check(of_protocol(protocol=protocol))
    with pytest.raises(ConfigError, match="the protocol's own"):
        protocols.check(of_protocol(protocol=ProtocolConfig(name="ours", version=3, free=dict(FREE), strict=False)))


def test_the_fingerprint_sees_free_keys_and_length_and_not_how_strictly_a_run_takes_them():
    base = protocols.fingerprint(of_protocol())
    deviating = of_protocol(protocol=loose())
    deviating.protocol.deviations = {"seed": [5, 9]}
    assert protocols.fingerprint(deviating) == base
    assert protocols.fingerprint(of_protocol(num_probes=9)) == base
    others = [
        of_protocol(num_generations=3),
        of_protocol(seed=6),
        of_protocol(protocol=ProtocolConfig(name="ours", version=3, free=dict(FREE))),
        of_protocol(protocol=ProtocolConfig(name="ours", version=2, free={**FREE, "seed": [5]})),
        of_protocol(protocol=ProtocolConfig(name="theirs", version=2, free=dict(FREE))),
    ]
    assert len({base, *map(protocols.fingerprint, others)}) == 6


def test_nested_values_are_flattened_and_empty_ones_kept():
    tree = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}, "f": None}
    assert protocols.flatten(tree) == {"a.b": 1, "a.c.d": [2], "e": {}, "f": None}


def test_composing_leaves_a_running_app_as_it_was():
    running = object()
    GlobalHydra.instance().hydra = running
    try:
        composed(*TINY)
        assert GlobalHydra.instance().hydra is running
        with pytest.raises(Exception, match="nonsense"):
            composed("nonsense=1")
        assert GlobalHydra.instance().hydra is running
    finally:  # not monkeypatch: Hydra puts a copy of its singleton in place, which would keep `running`
        GlobalHydra.instance().hydra = None


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[] if file in RUN_EVERY_TIME else pytest.mark.slow)
        for file in FILES
        if file != "shumailov_vae"
    ],
)
def test_every_protocol_runs_shrunk_and_says_that_it_deviates(file, tiny):
    samples = {
        "bertrand": ["num_samples=48"],
        "khelifa_fresh": ["data.num_reserve=30"],
        "mad_fresh": ["data.num_reserve=30"],
    }
    if file.startswith("martinez"):
        samples[file] = ["num_samples=32", "mixing.num_images=32"]
    config = composed(
        f"protocol={file}", *tiny, "num_generations=2", "protocol.strict=false", *samples.get(file, ["num_samples=24"])
    )
    protocols.check(config)
    rows = ledger.read(run_chain(config, Console()) / "ledger.jsonl")
    assert [row.generation for row in rows] == [0, 1]
    for row in rows:
        assert (row.protocol["name"], row.protocol["version"]) == (file, config.protocol.version)
        assert row.protocol["fingerprint"] == GOLDEN[f"{file} v{config.protocol.version}"]
        assert row.code["train"] == {"ddpm": ddpm.VERSION["train"]}
        assert row.protocol["deviations"]["generator.training.num_steps"][1] == 4
    policy = rows[1].policy
    expected = {"replace": 1.0, "augment": 0.5, "accumulate": 0.5, "fresh": 0.5, "blend": 0.5}
    if policy in expected:
        assert rows[1].composition["synthetic_ratio"] == expected[policy]


@NEEDS_LANGUAGE
@pytest.mark.slow
def test_the_protocol_of_a_language_model_has_its_two_arms_and_runs_shrunk(tmp_path):
    for ratio, epochs in ((1, 5), (0.9, 10)):
        arm = composed(
            "protocol=shumailov_opt", f"mixing.synthetic_ratio={ratio}", f"generator.training.num_epochs={epochs}"
        )
        protocols.check(arm)
    with pytest.raises(ConfigError, match="shumailov_opt v1 allows"):
        protocols.check(composed("protocol=shumailov_opt", "mixing.synthetic_ratio=0.5"))
    base = composed("experiment=none", "data=grammar", "generator=language_model", "metrics=identity")
    folder = tmp_path / "opt-125m"
    from bench.generators.language_model import network

    network.build(base.generator.network, 129, 0).save_pretrained(folder)
    lines = "\n".join(f"{a} goes with {b} and {b} with {a} ." for a in range(40) for b in range(40))
    (tmp_path / "text.txt").write_text(lines)
    config = composed(
        "protocol=shumailov_opt", f"generator.model={folder}", "data.source=file", f"data.path={tmp_path}/text.txt",
        "data.tokenizer=words", "data.vocab_size=512", "data.num_train=20", "data.num_heldout=10", "num_samples=20",
        "metrics.num_images=10", "metrics.k=2", "generator.training.num_epochs=1", "generator.training.batch_size=4",
        "num_probes=2",
        "mixing.synthetic_ratio=0.9", "num_generations=2", "runtime.device=cpu", "runtime.precision=fp32",
        f"output_dir={tmp_path}/o", "protocol.strict=false",
    )  # fmt: skip
    protocols.check(config)
    assert "generator.model" not in config.protocol.deviations, "a folder of that name is that model"
    rows = ledger.read(run_chain(config, Console()) / "ledger.jsonl")
    assert [row.composition["synthetic_ratio"] for row in rows] == [0, 0.9]
    assert rows[0].protocol["fingerprint"] == GOLDEN["shumailov_opt v1"] and rows[1].train["num_steps"] == 5


def test_the_protocol_of_a_vae_runs_shrunk_and_follows_the_spread_in_the_network_of_generation_0(tmp_path, monkeypatch):
    publish(tmp_path, monkeypatch)
    config = composed(
        "protocol=shumailov_vae", f"data.root={tmp_path}/cache", f"output_dir={tmp_path}/o", "protocol.strict=false",
        "data.num_train=40", "data.num_heldout=8", "num_samples=48", "num_generations=2", "num_probes=2",
        "generator.channels=[2,4]", "generator.training.num_epochs=2", "generator.training.batch_size=16",
        "metrics.num_images=8", "metrics.options.kernel.subset_size=4", "runtime.device=cpu", "runtime.num_threads=1",
    )  # fmt: skip
    protocols.check(config)
    rows = ledger.read(run_chain(config, Console(quiet=True)) / "ledger.jsonl")
    assert [row.composition["synthetic_ratio"] for row in rows] == [0, 1]
    for row in rows:
        assert row.train["num_steps"] == 5 and "generator.latent_size" not in row.protocol["deviations"]
        assert row.protocol["fingerprint"] == GOLDEN["shumailov_vae v1"]
        of = {s["metric"]: s for s in row.scores if (s["subject"], s["reference"]) == ("samples", "heldout")}
        assert of["spread"]["feature_space"] == "own_network" and {"risk", "risk_gap"} <= of.keys()


def test_three_equal_channels_with_three_times_the_weight_are_the_loss_of_one():
    """The paper's loss of a grey picture, cross-entropy in all with the KL divergence, is a third of ours in all."""
    own: Any = composed("protocol=shumailov_vae").generator
    own.channels = []
    network = vae.build(own, 8, 0)
    weight, bias = network["decoder"][0].weight, network["decoder"][0].bias
    with torch.no_grad():
        weight[64:], bias[64:] = weight[:64].repeat(2, 1), bias[:64].repeat(2)
    grey = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x = grey.expand(-1, 3, -1, -1)
    mean, log_variance = vae.posterior(network, x)
    logits = network["decoder"](mean)
    ours = binary_cross_entropy_with_logits(logits, x) + own.beta * vae.divergence(mean, log_variance).mean() / (3 * 64)
    theirs = binary_cross_entropy_with_logits(logits[:, :1], grey, reduction="sum") / 5
    theirs = theirs + vae.divergence(mean, log_variance).mean()
    torch.testing.assert_close(ours * 64, theirs)


def test_a_protocol_is_checked_on_the_command_line_too(tmp_path):
    command = [sys.executable, "-m", "bench", "protocol=martinez_birds", f"output_dir={tmp_path}/o"]
    done = subprocess.run([*command, "num_probes=3", "metrics.k=7"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "metrics.k=7: protocol martinez_birds v1 allows [3]" in done.stderr


def test_tiny_shrinks_only_what_exists():
    assert composed(*TINY).data.name == "procedural"
