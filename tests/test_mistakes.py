"""What cannot be composed is told with the key, the value and what is allowed."""

import pytest
from shrunk import composed

from bench import mistakes


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


def test_any_other_mistake_keeps_the_words_of_hydra_and_of_omegaconf() -> None:
    with pytest.raises(mistakes.Mistakes) as error:
        composed("metrics.kk=3")
    said = mistakes.sentence(error.value)
    assert said.startswith("Could not override 'metrics.kk'") and "Key 'kk' not in 'MetricsConfig'" in said
