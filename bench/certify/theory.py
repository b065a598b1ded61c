"""Exact expectations for the loops of the certificate. This module imports nothing of the benchmark.

A loop fits N(μ̂, σ̂²) to N points of true mean 0 and variance σ², and the next training set is drawn from real points
and from samples of earlier fits. Unless a function says otherwise, expectations are exact for any number of points and
taken over everything that is random: the points, the draws of the policy, and the samples. The closed forms are those
of Shumailov (2305.17493), Gerstgrasser (2404.01413) and Kazdan (2410.16713). `moments` computes the same expectations
for any rule of drawing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

REAL = "real"


@dataclass(frozen=True)
class Draw:
    """A uniform draw of `num` points without replacement from the union of the pools in `universe` (name -> size)."""

    universe: dict[str, int]
    num: int


Plan = Callable[[int], Sequence[Draw]]
"""Generation -> the independent draws, from different pools, that its training set consists of."""


def samples_of(generation: int) -> str:
    """Return the name of the pool of a generation's samples."""
    return f"samples {generation}"


def moments(plan: Plan, num_generations: int, unbiased: bool, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return E μ̂² and E σ̂² of every generation, float64 (G,) each.

    They follow from two kinds of numbers: E x² of the points of a pool, and E xy of two different points of two pools
    (or of one). A pool that is not the samples of a generation holds real points. A pool may be drawn from again, in
    whole or by a draw that is independent of the earlier ones.
    """
    square: dict[str, float] = {}  # E x²
    product: dict[tuple[str, str], float] = {}  # E xy, x and y different points
    means, variances = np.empty(num_generations), np.empty(num_generations)
    for generation in range(num_generations):
        draws = plan(generation)
        sizes = {name: size for draw in draws for name, size in draw.universe.items()}
        for name in sizes.keys() - square.keys():
            square[name] = variance
            product |= {pair: 0.0 for other in square for pair in ((name, other), (other, name))}
        expected, pairs = _counts(draws)
        n = sum(draw.num for draw in draws)
        of_squares = sum(count * square[name] for name, count in expected.items()) / n
        mean = of_squares / n + sum(count * product[pair] for pair, count in pairs.items()) / n**2
        means[generation] = mean
        variances[generation] = (of_squares - mean) * (n / (n - 1) if unbiased else 1)
        own = samples_of(generation)
        for name in square:  # E of a point times the mean μ̂ of the new samples
            with_mean = sum(count * product[name, other] for other, count in expected.items())
            if name in expected:
                with_mean += expected[name] / sizes[name] * (square[name] - product[name, name])
            product[own, name] = product[name, own] = with_mean / n
        square[own], product[own, own] = mean + variances[generation], mean
    return means, variances


def _counts(draws: Sequence[Draw]) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Return the expected numbers of points from every pool, and of ordered pairs of different points from every two
    pools (or from one)."""
    expected = {name: d.num * size / sum(d.universe.values()) for d in draws for name, size in d.universe.items()}
    pairs = {(a, b): expected[a] * expected[b] for a in expected for b in expected}  # for different draws
    for draw in draws:
        total = sum(draw.universe.values())
        both = draw.num * (draw.num - 1) / (total * (total - 1)) if total > 1 else 0.0
        for a, size in draw.universe.items():
            for b, other in draw.universe.items():
                pairs[a, b] = both * size * (other - 1 if a == b else other)
    return expected, pairs


def deviation_factor(m: int) -> float:
    """Return c₄ = E s / σ, where s is the standard deviation of m normal points, with the divisor m − 1."""
    return math.sqrt(2 / (m - 1)) * math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2))


def replace_distance(m: int, num_fits: int, variance: float) -> float:
    """Return E W₂² to the truth after `num_fits` successive unbiased fits to m points each. It is also E W₂² between
    two independently fitted Gaussians, with `num_fits` fits in total."""
    return variance * (num_fits / m + 2 * (1 - deviation_factor(m) ** num_fits))


def replace_variance(m: int, num_fits: int, variance: float) -> float:
    """Return E σ̂² after `num_fits` successive maximum-likelihood fits to m points each."""
    return variance * (1 - 1 / m) ** num_fits


def accumulate_variance(m: int, num_fits: int, variance: float) -> float:
    """Return E σ̂² after `num_fits` maximum-likelihood fits to m, 2m, 3m, … accumulated points."""
    return variance * math.prod(1 - 1 / (m * k * k) for k in range(1, num_fits + 1))


def accumulate_mean(num_fits: int) -> float:
    """Return m E μ̂²/σ² after `num_fits` fits to accumulated points, for large m."""
    return sum(1 / k**2 for k in range(1, num_fits + 1))


def fresh_mean(ratio: float) -> float:
    """Return the limit of m E μ̂²/σ² over generations, for large m, if a share 1 − ratio of every training set is new
    real points."""
    return 1 / (1 - ratio**2)


def replace_risk(m: int, num_fits: int, variance: float) -> float:
    """Return the expected negative log-likelihood, in nats, of new real points after `num_fits` successive unbiased
    fits to m points each.

    log σ̂² is a sum of independent log χ² variables. E 1/σ̂² grows by a factor of (m − 1)/(m − 3) with every fit, and
    so does the contribution of each earlier step of the mean.
    """
    growth = (m - 1) / (m - 3)
    log_variance = math.log(variance) + num_fits * (_digamma((m - 1) / 2) - math.log((m - 1) / 2))
    square = growth**num_fits + sum(growth**k for k in range(1, num_fits + 1)) / m
    return 0.5 * (math.log(2 * math.pi) + log_variance + square)


def entropy(variance: float) -> float:
    """Return the entropy of a Gaussian in nats, which is the expected loss of the true distribution."""
    return 0.5 * math.log(2 * math.pi * math.e * variance)


def _digamma(x: float) -> float:
    from scipy.special import digamma

    return float(digamma(x))


def category_diversity(m: int, num_fits: int, start: float, accumulate: bool) -> float:
    """Return E[1 − Σ p̂²] of categories after `num_fits` fits of their shares to m samples each (replace), or to m, 2m,
    … samples if they accumulate. start: 1 − Σ p² of the true shares."""
    return start * math.prod(1 - 1 / (m * (k * k if accumulate else 1)) for k in range(1, num_fits + 1))


def category_counts(m: int, num_fits: int, share: float) -> np.ndarray:
    """Return the probability of every count 0 … m of one category, float64 (m + 1,), after `num_fits` successive fits
    of its share p to m samples each.

    The counts are a Markov chain of binomial draws (Wright–Fisher). After one fit, the first entry is (1 − p)^m. With
    more fits, the last entry tends to p, the probability that only this category is left.
    """
    counts = range(m + 1)
    step = np.array([[_binomial(m, k, given / m) for k in counts] for given in counts])
    start = np.array([_binomial(m, k, share) for k in counts])
    return start @ np.linalg.matrix_power(step, num_fits - 1)


def _binomial(m: int, k: int, p: float) -> float:
    return math.comb(m, k) * p**k * (1 - p) ** (m - k)


def regression_risk(rows: int, columns: int, num_fits: int) -> float:
    """Return E‖ŵ − w‖² of least squares after `num_fits` successive fits to `rows` points each, with noise of variance
    1 and x ~ N(0, I) (Gerstgrasser et al. 2404.01413, theorem 1)."""
    return num_fits * columns / (rows - columns - 1)


def regression_bound(rows: int, columns: int, num_fits: int) -> float:
    """Return the upper bound of E‖ŵ − w‖² if points accumulate (Gerstgrasser et al. 2404.01413, theorem 2)."""
    return columns / (rows - columns - 1) * sum(1 / k**2 for k in range(1, num_fits + 1))
