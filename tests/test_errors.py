"""Errors reach other processes whole: launchers and pools of workers pickle them."""

import copy
import pickle

import pytest

from bench import errors
from bench.errors import BenchError, ConfigError, ConfigErrors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BenchError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_pickled_with_its_message_and_its_notes(kind: type[BenchError]) -> None:
    wrong = ConfigError("data.path", [1, None], "must be a path")
    error = wrong if kind is ConfigError else kind([wrong, wrong]) if kind is ConfigErrors else kind("no such file")
    error.add_note("in chain 3")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.__notes__ == ["in chain 3"]


def test_a_pickled_config_error_keeps_key_value_and_what_is_allowed() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("data.path", [1, None], "must be a path")))
    assert (error.key, error.value, error.allowed) == ("data.path", [1, None], "must be a path")
    assert str(error) == "data.path=[1, None]: must be a path"
