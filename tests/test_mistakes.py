"""What cannot be composed is told with the key, the value and what is allowed."""

import pickle
import sys

import pytest
from hydra import compose, initialize_config_module
from shrunk import TINY, composed

from bench import mistakes, preflight, sweep
from bench.__main__ import main
from bench.composition import PoolRef
from bench.errors import ConfigError, ConfigErrors, ReserveError
from bench.pool import REAL


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=inf", "seed=inf: must be a whole number and must be at least 0"),
        ("num_samples=nan", "num_samples=nan: must be a whole number"),
        ("num_probes=-inf", "num_probes=-inf: must be a whole number and must lie in [1, 1024]"),
        ("data.num_train=nan", "data.num_train=nan: must be a whole number and must be at least 2"),
        ("generator.unet.channels=[8,inf]", "generator.unet.channels[1]=inf: must be a whole number"),
        ("retrain_epochs=long", "retrain_epochs='long': must be a number and must be greater than 0"),
        ("warm_start=perhaps", "warm_start='perhaps': must be true or false"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_is_allowed(override: str, said: str) -> None:
    with pytest.raises(mistakes.Mistakes) as error:
        composed(override)
    assert mistakes.sentence(error.value) == said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("metrics.kk=3", ["metrics.kk=3: there is no such option; did you mean metrics.k"]),
        ("num_generation=1", ["num_generation=1: there is no such option; did you mean num_generations"]),
        (
            "mixing=replace mixing.synthetic_ratio=0.3",
            ["mixing.synthetic_ratio=0.3: mixing=replace has no such option"],
        ),
        ("data=flowers", ["data='flowers': there is no such option among cifar10, cub200, custom, flowers102,"]),
        ("experiment=quik", ["experiment='quik': there is no such option among birds16,"]),
        ("+seed=1", ["+seed=1: there is such an option; leave out the +"]),
        ("seed=0,1", ["seed=0,1: several values are a sweep, which -m starts"]),
        ("foo", ["foo: cannot be read as key=value"]),
        ("metrics.scores=frechet", ["metrics.scores='frechet': must be a list, as in [a,b]"]),
        (
            "num_generation=1 data.num_trian=5 seed=x metrics.k=3",
            [
                "num_generation=1: there is no such option; did you mean num_generations",
                "data.num_trian=5: there is no such option; did you mean data.num_train",
                "seed='x': must be a whole number and must be at least 0",
            ],
        ),
    ],
)
def test_every_mistake_of_a_command_line_is_told_at_once_and_in_our_words(command: str, said: list[str]) -> None:
    overrides = command.split()
    with pytest.raises(mistakes.Mistakes) as error:
        composed(*overrides)
    found = mistakes.sentences(error.value, overrides)
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True)), found
    assert not any(word in "\n".join(found) for word in ("_schema", "search path", "full_key", "+num", "object_type"))


def test_an_option_that_only_others_have_names_them() -> None:
    with pytest.raises(mistakes.Mistakes) as error:
        composed("mixing=replace", "mixing.synthetic_ratio=0.3")
    said = mistakes.sentence(error.value, ["mixing=replace", "mixing.synthetic_ratio=0.3"])
    assert said.endswith("; blend, fresh, real_only, window have it")


@pytest.mark.parametrize(
    ("watermarks", "said"),
    [
        ("initial_noise,pixel_pattern", "write 'watermark.keys=choice(per_generation)'"),
        ("choice(initial_noise,pixel_pattern)", "write 'watermark.keys=choice(per_generation)'"),
        ("initial_noise,none", "watermark=none has no such option; initial_noise, pixel_pattern have it"),
    ],
)
def test_an_option_of_several_swept_components_is_told_with_what_to_write(
    watermarks: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    wrong = ["watermark.keys=per_generation", "nonsense=1"]
    words = ["-m", "experiment=tiny", f"watermark={watermarks}", "seed=0,1", *wrong]
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    errors = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert [line.split(":")[1] for line in errors] == [f" {line}" for line in wrong], "a sweep of seeds is not wrong"
    assert errors[0].endswith(said)


def test_the_option_that_is_told_to_be_written_is_read() -> None:
    words = ["watermark=initial_noise,pixel_pattern", "watermark.keys=choice(per_generation)"]
    assert sweep.check_values([*TINY, *words]) == []
    found = [composed(*line).watermark for line in sweep.each_value_once(words)]
    assert [(mark.name, mark.keys) for mark in found] == [  # type: ignore[attr-defined]
        ("initial_noise", "per_generation"),
        ("pixel_pattern", "per_generation"),
    ]


def test_wrong_values_and_wrong_combinations_are_told_together() -> None:
    with pytest.raises(ConfigErrors) as error:
        composed("seed=-1", "mixing.policy=foo", "data.num_train=10", "data.num_heldout=20", "metrics.k=2000")
    keys = [one.key for one in error.value.errors]
    assert keys == ["seed", "metrics.k", "mixing.policy", "metrics.num_images", "metrics.num_images"]
    assert len(str(error.value).splitlines()) == 5
    other = pickle.loads(pickle.dumps(error.value))
    assert str(other) == str(error.value) and isinstance(other, ConfigError) and other.key == "seed"


def test_a_combination_says_nothing_of_a_value_that_is_wrong_by_itself() -> None:
    with pytest.raises(ConfigError) as error:
        composed("metrics.num_images=-3")
    assert str(error.value) == "metrics.num_images=-3: must be at least 2"


def test_all_unknown_keys_are_told() -> None:
    with pytest.raises(ConfigErrors) as error:
        composed("+data.num_trian=3", "+foo=1")
    assert [one.key for one in error.value.errors] == ["data.num_trian", "foo"]


def test_fresh_items_that_run_out_are_told_before_any_work_with_what_provides_them() -> None:
    few = ["mixing=fresh", "mixing.synthetic_ratio=0.5", "num_generations=3"]
    with pytest.raises(ReserveError) as error:
        preflight.check(composed(*TINY, *few))
    cure = "3 generations take 24 in all; data.num_reserve=24 draws them"
    assert str(error.value) == f"generation 1 needs fresh real images 0…11, but the reserve has 0: {cure}"
    preflight.check(composed(*TINY, *few, "data.num_reserve=24"))
    with pytest.raises(ReserveError):
        preflight.check(composed(*TINY, *few, "data.num_reserve=23"))


def test_fresh_items_of_a_finite_set_come_from_a_smaller_training_set() -> None:
    config = composed("data=npz", "metrics.num_images=16", "data.path=x.npz", "mixing=fresh", "num_generations=3")
    history = preflight.start(config, PoolRef("real", 100, REAL), PoolRef("reserve", 20, REAL))
    with pytest.raises(ReserveError, match=r"take 100 in all, and 20 of .* data\.num_train=60 leaves enough"):
        preflight.plan(config, history, 200)
    history = preflight.start(config, PoolRef("real", 60, REAL), PoolRef("reserve", 60, REAL))
    assert len(preflight.plan(config, history, 200)) == 3


def test_a_component_that_is_a_number_is_told_in_our_words() -> None:
    said = mistakes.numbered_groups(["data=1", "generator=ddpm", "seed=3", "mixing=True", "-m"])
    assert [line.split(":")[0] for line in said] == ["data='1'", "mixing='True'"]


def test_a_checkout_that_is_not_installed_is_said_to_be_one() -> None:
    """Check what Hydra raises where the package `bench.conf` is missing: an installation puts conf/ there."""
    with initialize_config_module("bench.conf_absent", version_base="1.3"), pytest.raises(mistakes.Mistakes) as error:
        compose("config", ["seed=1"])
    assert "must be installed" in mistakes.sentence(error.value, ["seed=1"])
