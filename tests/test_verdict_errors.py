"""The error rates that docs/results.md states for the verdict are those that simulation gives."""

import math

import pytest
import verdict_errors
from verdict_errors import CASES, GENERATIONS, SEEDS, TRUTHS, WORDS

from bench.analysis.collapse import BOUNDED, DIVERGING, INCONCLUSIVE, RISING, STABLE

PUBLISHED = verdict_errors.published()


def test_the_page_has_every_cell_and_each_is_a_distribution():
    cells = {(case, n, s, g) for case, (_, names) in CASES.items() for n in names for s in SEEDS for g in GENERATIONS}
    assert set(PUBLISHED) == cells
    assert all(sum(shares.values()) == pytest.approx(1, abs=0.002) for shares in PUBLISHED.values())


def test_bounded_loops_are_not_called_diverging_and_unchanged_ones_are_stable():
    for (case, name, num_seeds, num_generations), shares in PUBLISHED.items():
        where = (case, name, num_seeds, num_generations)
        if TRUTHS[name][0] == BOUNDED:
            assert shares[DIVERGING] <= 0.05, where
        if TRUTHS[name][0] == STABLE and num_seeds >= 3:
            assert shares[DIVERGING] + shares[BOUNDED] + shares[RISING] <= 0.05, where
        if num_seeds == 1 and num_generations < 9:
            assert shares[INCONCLUSIVE] == 1, where


def agrees(shares: dict[str, float], stated: dict[str, float], num_studies: int) -> bool:
    """Whether two measurements of the same shares differ by no more than four standard errors and rounding."""
    both = 1 / num_studies + 1 / verdict_errors.NUM_STUDIES
    return all(
        abs(shares[word] - stated[word])
        <= 4 * math.sqrt(max(stated[word] * (1 - stated[word]), 1 / num_studies) * both) + 0.001
        for word in WORDS
    )


@pytest.mark.parametrize("num_generations", [4, 6, 10])
@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("name", TRUTHS)
def test_a_short_form_of_the_matrix_agrees_with_the_page(name, num_seeds, num_generations):
    shares = verdict_errors.verdicts(TRUTHS[name][1], num_seeds, num_generations, 100)
    assert agrees(shares, PUBLISHED["as above", name, num_seeds, num_generations], 100), shares


@pytest.mark.parametrize("case", list(CASES)[1:])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_a_short_form_of_the_harder_cases_agrees_with_the_page(case, num_seeds):
    options, names = CASES[case]
    for name in names:
        shares = verdict_errors.verdicts(TRUTHS[name][1], num_seeds, 10, 100, **options)
        assert agrees(shares, PUBLISHED[case, name, num_seeds, 10], 100), (name, shares)


def test_a_rate_that_moves_is_noticed():
    stated = PUBLISHED["as above", "accumulate, Σ 1/k²", 3, 6]
    moved = {**stated, DIVERGING: stated[DIVERGING] + 0.15, RISING: stated[RISING] - 0.15}
    assert agrees(stated, stated, 100) and not agrees(moved, stated, 100)


@pytest.mark.slow
def test_the_whole_matrix_is_what_the_page_says():
    measured = verdict_errors.measure(verdict_errors.NUM_STUDIES)
    assert {where for where in measured if not agrees(measured[where], PUBLISHED[where], 1000)} == set()
