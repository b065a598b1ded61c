"""Options: bounds at their edges, the walker that knows the path, and what enters keys and identities."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.options import check, identifying, local_keys, option, stage_values


@dataclass
class Inner:
    rate: float = option(0.5, at_least=0.0, at_most=1.0)
    pace: int = option(3, at_least=1, stage=None, local=True)
    solver: str = option("euler", one_of=("euler", "heun"), stage="sample")

    def validate(self) -> None:
        if self.solver == "heun" and self.rate == 0:
            raise ConfigError("rate", self.rate, "heun needs a rate")


@dataclass
class Outer:
    width: int | None = option(None, above=0)
    widths: list[int] = option([8, 16], multiple_of=8)
    names: list[str] = option(["a"], some_of=("a", "b"))
    path: str = option("x", file=True)
    plain: Any = 1.0
    inner: Inner = option(Inner)
    late: Inner = option(Inner, stage="sample")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 0}, "top.width=0: must be greater than 0"),
        ({"width": float("inf")}, "top.width=inf: must be greater than 0"),
        ({"widths": [8, 12]}, r"top.widths=\[8, 12\]: must not be empty, and each must be a multiple of 8"),
        ({"widths": []}, r"top.widths=\[\]"),
        ({"names": ["a", "a"]}, "top.names.*different ones of a, b"),
        ({"names": []}, r"top.names=\[\]"),
        ({"plain": float("inf")}, "top.plain=inf: must be a finite number"),
        ({"inner": Inner(rate=1.1)}, r"top.inner.rate=1.1: must lie in \[0, 1\]"),
        ({"inner": Inner(rate=float("nan"))}, "top.inner.rate=nan"),
        ({"late": Inner(pace=0)}, "top.late.pace=0: must be at least 1"),
        ({"inner": Inner(solver="rk4")}, "top.inner.solver='rk4': must be one of euler, heun"),
        ({"late": Inner(rate=0, solver="heun")}, "top.late.rate=0: heun needs a rate"),
    ],
    ids=str,
)
def test_a_value_out_of_bounds_is_named_by_its_whole_path(change, named):
    with pytest.raises(ConfigError, match=f"^{named}"):
        check(Outer(**change), "top")


def test_what_lies_on_the_edge_is_allowed():
    check(Outer(width=1, names=["b", "a"], inner=Inner(rate=1.0), late=Inner(rate=0.0, pace=1)))
    check(Outer(width=None))


@given(st.floats(), st.floats(0, 1), st.floats(0, 1))
def test_a_range_refuses_exactly_what_lies_outside(value, a, b):
    low, high = sorted((a, b))

    @dataclass
    class Ranged:
        x: float = option(low, at_least=low, at_most=high)

    if low <= value <= high:
        check(Ranged(value))
    else:
        with pytest.raises(ConfigError):
            check(Ranged(value))


def test_defaults_are_not_shared():
    Outer().widths.append(24)
    Outer().inner.rate = 0.9
    assert Outer().widths == [8, 16] and Outer().inner.rate == 0.5


def test_a_key_has_the_changed_values_of_its_stage_and_nothing_else():
    assert stage_values(Outer(), "train", "train") == stage_values(Outer(), "sample", "train") == {}
    changed = Outer(width=3, inner=Inner(0.1, 9, "heun"), late=Inner(0.2, 9, "heun"))
    assert stage_values(changed, "train", "train") == {"width": 3, "inner": {"rate": 0.1}}
    assert stage_values(changed, "sample", "train") == {
        "inner": {"solver": "heun"},
        "late": {"rate": 0.2, "solver": "heun"},
    }


def test_an_identity_has_everything_that_is_not_local_or_the_default():
    tree = {"width": 3, "widths": [8, 16], "path": "/a/b/x.npz", "inner": {"rate": 0.5, "pace": 9}, "newer": 1}
    assert identifying(tree, Outer) == {"width": 3, "path": "x.npz", "newer": 1}
    with_defaults = identifying(tree, Outer, with_defaults=True)
    assert with_defaults["widths"] == [8, 16] and with_defaults["inner"] == {"rate": 0.5}
    assert local_keys(Outer) == ["inner.pace", "late.pace"]


@dataclass
class Open:
    share: float = option(0.5, above=0, at_most=1)
    number: int = option(1, at_most=5)


def test_a_message_names_every_bound():
    with pytest.raises(ConfigError, match=r"share=1\.5: must be greater than 0 and at most 1"):
        check(Open(share=1.5))
    with pytest.raises(ConfigError, match="number=6: must be at most 5"):
        check(Open(number=6))


def test_there_is_no_stage_of_another_name():
    with pytest.raises(AssertionError, match="stage='smaple'"):
        option(1, stage="smaple")
