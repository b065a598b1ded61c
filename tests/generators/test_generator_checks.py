"""What is refused before any work, and what counts as another model or other pixels."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench import generators
from bench.config import DDPMConfig, GeneratorConfig
from bench.errors import ConfigError

Make = Callable[..., DDPMConfig]


def test_a_resolution_that_does_not_halve(tiny: Make) -> None:
    generators.check(tiny(), 10)
    with pytest.raises(ConfigError, match=r"data\.resolution must be a multiple of 2, and it is 9") as error:
        generators.check(tiny(), 9)
    assert error.value.key == "generator.unet.channels"
    with pytest.raises(ConfigError, match="multiple of 16"):
        generators.check(tiny(unet={"channels": [8] * 5, "attention": [False] * 5}), 24)


def test_heads_that_do_not_divide_the_width(tiny: Make) -> None:
    with pytest.raises(ConfigError, match=r"attention_head_dim=32.*\[16\]"):
        generators.check(tiny(unet={"attention_head_dim": 32}), 8)
    generators.check(tiny(unet={"attention_head_dim": 32, "attention": [False, False]}), 8)


def test_a_warm_up_longer_than_the_training_is_said(tiny: Make, caplog: pytest.LogCaptureFixture) -> None:
    generators.check(tiny(training={"warmup_steps": 12}), 8)
    assert "never reaches" in caplog.text


def test_an_unknown_generator() -> None:
    with pytest.raises(ConfigError, match=r"generator\.name='gan'"):
        generators.check(GeneratorConfig(name="gan"), 8)


def test_train_spec_changes_with_what_changes_a_model(tiny: Make) -> None:
    spec = generators.train_spec(tiny())
    assert spec["version"] >= 1
    for changed in (
        tiny(unet={"channels": [16, 16]}),
        tiny(noise={"prediction": "sample"}),
        tiny(training={"decay": "linear"}),
        tiny(training={"horizontal_flip": False}),
    ):
        assert generators.train_spec(changed) != spec
    assert generators.train_spec(tiny(training={"checkpoint_every": 7})) == spec
    assert generators.train_spec(tiny(sampling={"num_steps": 7})) == spec


def test_sample_spec_changes_with_what_changes_pixels(tiny: Make) -> None:
    spec = generators.sample_spec(tiny())
    assert generators.sample_spec(tiny(sampling={"num_steps": 7})) != spec
    assert generators.sample_spec(tiny(sampling={"sampler": "ddim"})) != spec
    assert generators.sample_spec(tiny(sampling={"batch_size": 7})) == spec
    config = tiny()
    assert generators.sample_spec(replace(config, training=tiny(training={"num_steps": 9}).training)) == spec


def test_checks_load_neither_torch_nor_diffusers() -> None:
    code = (
        "import sys; from bench import generators; from bench.config import DDPMConfig; c = DDPMConfig(); "
        "generators.check(c, 64); generators.train_spec(c); generators.sample_spec(c); "
        "assert not {'torch', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
