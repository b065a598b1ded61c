"""Variance components: exact without a rest, unbiased and covering with known components, and by hand."""

import numpy as np
import pytest
from scipy import stats

from bench.analysis.variance_components import REST, SEED, SPLIT, crossed_components
from bench.errors import MetricError


def table(rng: np.random.Generator, shape: tuple[int, int], sds: tuple[float, float, float]) -> np.ndarray:
    """Scores of splits × seeds with known standard deviations of split, seed and rest."""
    a, b = shape
    effects = (rng.standard_normal(size) for size in ((a, 1), (1, b), (a, b)))
    return 100 + sum(sd * effect for sd, effect in zip(sds, effects, strict=True))


def test_a_table_by_hand() -> None:
    """Rows 1 2 3, 4 6 8: means 2, 6 and 2.5, 4, 5.5; mean squares 24, 4.5 and 0.5."""
    split, seed, rest = crossed_components(np.array([[1.0, 2, 3], [4, 6, 8]]))
    assert [c.name for c in (split, seed, rest)] == [SPLIT, SEED, REST]
    assert split.sd**2 == pytest.approx((24 - 0.5) / 3)
    assert seed.sd**2 == pytest.approx((4.5 - 0.5) / 2)
    assert rest.sd**2 == pytest.approx(0.5)
    total = 23.5 / 3 + 2 + 0.5
    assert [c.share for c in (split, seed, rest)] == pytest.approx([23.5 / 3 / total, 2 / total, 0.5 / total])
    assert [c.degrees for c in (split, seed, rest)] == [1, 2, 2]
    assert rest.low == pytest.approx(np.sqrt(2 * 0.5 / 7.377759)) and rest.high == pytest.approx(
        np.sqrt(2 * 0.5 / 0.05063562)  # quantiles of χ² with 2 degrees of freedom from a printed table
    )


@pytest.mark.parametrize(("shape", "sds"), [((3, 5), (3.0, 1.0, 2.0)), ((5, 5), (0.5, 2.0, 2.0)), ((2, 3), (3, 1, 2))])
def test_known_components_are_found_and_covered(shape: tuple[int, int], sds: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    found = [crossed_components(table(rng, shape, sds)) for _ in range(500)]
    for i, sd in enumerate(sds):
        covered = np.mean([c[i].low <= sd <= c[i].high for c in found])  # type: ignore[operator]
        assert 0.92 <= covered <= 0.985, (i, covered)
    assert np.mean([c[2].sd ** 2 for c in found]) == pytest.approx(sds[2] ** 2, rel=0.12)
    if min(shape) > 2:  # cut at 0 less often, so nearly unbiased
        assert np.mean([c[0].sd ** 2 + c[1].sd ** 2 for c in found]) == pytest.approx(
            sds[0] ** 2 + sds[1] ** 2, rel=0.2
        )


@pytest.mark.parametrize(("factor", "is_positive"), [(0.995, False), (1.005, True)])
def test_an_interval_leaves_zero_out_where_the_f_test_rejects(factor: float, is_positive: bool) -> None:
    """The modified large-sample interval is made to be exact there (Ting et al. 1990)."""
    y = table(np.random.default_rng(2), (4, 5), (1, 1, 1))
    split, rest = y.mean(axis=1, keepdims=True) - y.mean(), y - y.mean(axis=1, keepdims=True)
    rest_only = rest - rest.mean(axis=0)
    ratio = (5 * (split**2).sum() / 3) / ((rest_only**2).sum() / 12)
    critical = stats.f.ppf(0.975, 3, 12)
    found = crossed_components(split * np.sqrt(factor * critical / ratio) + rest)[0]
    assert found.low is not None and (found.low > 0) == is_positive
    assert found.low < 0.1


def test_what_is_not_there_is_zero_and_not_negative() -> None:
    rng = np.random.default_rng(1)
    found = [crossed_components(table(rng, (4, 4), (0, 0, 1))) for _ in range(100)]
    assert min(c[0].sd for c in found) == 0 and np.mean([c[0].low == 0 for c in found]) > 0.9
    same = crossed_components(np.full((3, 3), 7.0))
    assert [(c.sd, c.share) for c in same] == [(0.0, 0.0)] * 3


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.ones((3, 1)), np.full((2, 2), np.nan)])
def test_a_table_that_is_too_small_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(MetricError, match=r"at least 2 splits × 2 seeds"):
        crossed_components(bad)
