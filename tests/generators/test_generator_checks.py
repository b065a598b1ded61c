"""Configurations that are rejected before any work, and those that count as another model or other pixels."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from configs import DDPMConfig, EDMConfig, SigmaConfig

from bench import generators
from bench.config import GeneratorConfig
from bench.errors import ConfigError
from bench.generators import ddpm

Make = Callable[..., DDPMConfig]


def test_a_resolution_that_does_not_halve(tiny: Make) -> None:
    generators.check(tiny(), "images", (3, 10, 10))
    with pytest.raises(ConfigError, match=r"data\.resolution must be a multiple of 2, and it is 9") as error:
        generators.check(tiny(), "images", (3, 9, 9))
    assert error.value.key == "generator.unet.channels"
    with pytest.raises(ConfigError, match="multiple of 16"):
        generators.check(tiny(unet={"channels": [8] * 5, "attention": [False] * 5}), "images", (3, 24, 24))


def test_heads_that_do_not_divide_the_width(tiny: Make) -> None:
    with pytest.raises(ConfigError, match=r"attention_head_dim=32.*\[16\]"):
        generators.check(tiny(unet={"attention_head_dim": 32}), "images", (3, 8, 8))
    generators.check(tiny(unet={"attention_head_dim": 32, "attention": [False, False]}), "images", (3, 8, 8))
    three = {"channels": [8, 16, 24], "attention": [False, True, False]}
    with pytest.raises(ConfigError, match=r"attention_head_dim=16.*\[16, 24\]"):  # the middle block
        generators.check(tiny(unet={**three, "attention_head_dim": 16}), "images", (3, 8, 8))
    generators.check(tiny(unet={**three, "attention_head_dim": 8}), "images", (3, 8, 8))


def test_a_warm_up_longer_than_the_training_is_logged(tiny: Make, caplog: pytest.LogCaptureFixture) -> None:
    generators.check(tiny(training={"warmup_steps": 11}), "images", (3, 8, 8))
    assert not caplog.text
    generators.check(tiny(training={"warmup_steps": 12}), "images", (3, 8, 8))
    assert "never reaches 0.002 within 12 steps" in caplog.text


def test_an_unknown_generator() -> None:
    with pytest.raises(ConfigError, match=r"generator\.name='gan'"):
        generators.check(GeneratorConfig(name="gan"), "images", (3, 8, 8))


OTHER: dict[str, dict[str, Any]] = {  # for each field a value that is not the one of `tiny`
    "unet": {
        "channels": [16, 16],
        "attention": [True, False],
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "dropout": 0.1,
    },
    "noise": {
        "num_timesteps": 99,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction": "sample",
        "min_snr_gamma": 5.0,
        "edm": EDMConfig(sigma_data=0.4),
    },
    "training": {
        "num_steps": 13,
        "num_epochs": 2.0,
        "batch_size": 9,
        "num_micro_batches": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 4,
        "decay": "linear",
        "weight_decay": 0.1,
        "ema_decay": 0.8,
        "gradient_clip": 2.0,
        "horizontal_flip": False,
        "checkpoint_every": 7,
    },
    "sampling": {
        "sampler": "ddpm",
        "num_steps": 7,
        "spacing": "quadratic",
        "eta": 0.5,
        "temperature": 0.9,
        "batch_size": 7,
        "sigma": SigmaConfig(rho=5.0),
    },
}
HARMLESS = {"training.checkpoint_every", "sampling.batch_size"}
"""Change no byte of a model or a sample: test_fit.py and test_sampling.py show it."""


def test_a_spec_changes_with_every_field_that_changes_the_result(tiny: Make) -> None:
    plain = tiny(sampling={"sampler": "ddim"})
    assert {group: list(values) for group, values in OTHER.items()} == {
        group: [field.name for field in fields(getattr(plain, group))] for group in OTHER
    }, "a new field needs a value here"
    for group, values in OTHER.items():
        for name, value in values.items():
            assert getattr(getattr(plain, group), name) != value
            changed = replace(plain, **{group: replace(getattr(plain, group), **{name: value})})
            key = f"{group}.{name}"
            trains_alike = generators.train_spec(changed) == generators.train_spec(plain)
            assert trains_alike == (group == "sampling" or key in HARMLESS), key
            samples_alike = generators.sample_spec(changed) == generators.sample_spec(plain)
            if group != "noise":  # which belongs to the model
                assert samples_alike == (group != "sampling" or key in HARMLESS), key


def test_specs_are_json_of_the_versions_and_do_not_touch_the_config(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spec, version in (
        (generators.train_spec, "train"),
        (generators.sample_spec, "sample"),
    ):
        config = tiny()
        before = spec(config)
        assert json.loads(json.dumps(before)) == before and before["generator"] == "ddpm"
        assert spec(config) == before and config == tiny()
        monkeypatch.setitem(ddpm.VERSION, version, ddpm.VERSION[version] + 1)
        assert spec(config) != before, "another version of the code is another result"


def test_checks_load_neither_torch_nor_diffusers() -> None:
    code = (
        "import sys; from bench import generators; from bench.generators.ddpm import Config; c = Config(); "
        "generators.check(c, 'images', (3, 64, 64)); generators.train_spec(c); generators.sample_spec(c); "
        "assert not {'torch', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
