"""Every score on sets that are broken in one known way: which scores must move, in which direction, and which must not.

The real distribution has eight clusters in twelve dimensions, the first four common, the last four rare. A broken
generator differs from it in one respect. `up`, `down`: better or worse than the score of real images by more than
CLEARLY times the spread over real sets; `same`: within that spread (times STILL).
"""

import numpy as np
import pytest
from scoring import fit_attributes, score

from bench.config import MetricsConfig

N, D = 800, 12
SHARES = np.array([0.22, 0.22, 0.22, 0.22, 0.03, 0.03, 0.03, 0.03])
CENTRES = np.random.default_rng(99).standard_normal((8, D)) * 3
CONFIG = MetricsConfig(num_images=N, k=3, options={"kernel": {"num_subsets": 20, "subset_size": 200}})
CLEARLY, STILL = 4.0, 4.0
NUM_REAL = 6

Sets = tuple[np.ndarray, np.ndarray]


def real(seed: int, n: int = N, shares: np.ndarray = SHARES, width: float = 1.0) -> Sets:
    """Return features and their clusters."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(8, n, p=shares / shares.sum())
    return (CENTRES[labels] + width * rng.standard_normal((n, D))).astype(np.float32), labels


REFERENCE, REFERENCE_LABELS = real(0)
TRAINING, TRAINING_LABELS = real(1)
TWIN = (TRAINING, real(2)[0])


@pytest.fixture(scope="module")
def attributes():
    names = {"cluster": [str(i) for i in range(8)]}
    return fit_attributes(TRAINING, {"cluster": TRAINING_LABELS}, REFERENCE, {"cluster": REFERENCE_LABELS}, names)


def values(features: np.ndarray, attributes) -> dict[str, float]:
    rows = score(features, REFERENCE, CONFIG, training=TRAINING, twin=TWIN, attributes=attributes)
    return {row["metric"]: row["value"] for row in rows}


@pytest.fixture(scope="module")
def usual(attributes) -> dict[str, tuple[float, float]]:
    """Return mean and spread of each score over fresh real sets, as for a perfect generator."""
    drawn = [values(real(10 + i)[0], attributes) for i in range(NUM_REAL)]
    return {m: (np.mean([d[m] for d in drawn]), np.std([d[m] for d in drawn], ddof=1)) for m in drawn[0]}


def mode_dropping() -> np.ndarray:
    """Return samples without half of the common clusters."""
    return real(20, shares=SHARES * [0, 0, 1, 1, 1, 1, 1, 1])[0]


def mode_invention() -> np.ndarray:
    """Return samples, a quarter of which are of a kind that is not real."""
    features, _ = real(21)
    invented = np.random.default_rng(1).permutation(N)[: N // 4]
    features[invented] = np.random.default_rng(2).standard_normal((N // 4, D)) + 12
    return features


def duplicated_samples() -> np.ndarray:
    """Return a quarter of the samples, each four times."""
    return np.repeat(real(22, N // 4)[0], 4, axis=0)


def copies_of_the_training_set() -> np.ndarray:
    """Return samples, half of which are training images with almost no change."""
    features, _ = real(23)
    features[: N // 2] = TRAINING[: N // 2] + 1e-3
    return features


def one_far_outlier() -> np.ndarray:
    features, _ = real(24)
    features[0] = 60
    return features


def tail_removal() -> np.ndarray:
    """Return samples without the four rare clusters."""
    return real(25, shares=SHARES * [1, 1, 1, 1, 0, 0, 0, 0])[0]


def shrunken_variance() -> np.ndarray:
    """Return samples that are closer to the middle of their cluster, as from too low a sampling temperature."""
    return real(26, width=0.5)[0]


EXPECTED: dict[str, tuple] = {
    "mode_dropping": (mode_dropping, {
        "worse": ["fid", "kid", "recall", "coverage", "vendi_distance", "class_survival", "head_survival",
                  "class_divergence"],
        "same": ["precision", "authenticity", "near_copy_rate", "closer_to_training", "near_duplicate_rate"],
    }),
    "mode_invention": (mode_invention, {
        "worse": ["fid", "kid", "precision", "density", "nn_distance_heldout"],
        "same": ["class_survival", "near_copy_rate", "near_duplicate_rate"],
    }),
    "duplicated_samples": (duplicated_samples, {
        "worse": ["near_duplicate_rate", "entropy_distance", "recall", "coverage"],
        "same": ["precision", "near_copy_rate", "closer_to_training", "class_survival"],
    }),
    "copies_of_the_training_set": (copies_of_the_training_set, {
        "worse": ["closer_to_training", "authenticity", "near_copy_rate"],
        "same": ["fid", "kid", "precision", "recall", "coverage", "vendi_distance", "near_duplicate_rate",
                 "class_divergence"],
    }),
    "one_far_outlier": (one_far_outlier, {
        "worse": ["fid"],
        "same": ["precision", "density", "coverage", "near_duplicate_rate", "authenticity", "class_survival",
                 "class_divergence"],
    }),
    "tail_removal": (tail_removal, {
        "worse": ["class_survival", "tail_survival", "class_divergence", "coverage", "kid"],
        "same": ["precision", "head_survival", "near_copy_rate"],
    }),
    "shrunken_variance": (shrunken_variance, {
        "worse": ["fid", "recall", "entropy_distance", "near_duplicate_rate"],
        # coverage rises although variety is lost: the middle of a cluster lies in many balls
        "better": ["precision", "density", "coverage"],
        # not near_copy_rate: samples crowd around few items, and whether these were trained on is chance
        "same": ["class_survival", "class_divergence", "closer_to_training"],
    }),
}  # fmt: skip


@pytest.mark.parametrize("fault", EXPECTED)
def test_the_right_scores_move_the_right_way(fault, usual, attributes):
    make, expected = EXPECTED[fault]
    rows = score(make(), REFERENCE, CONFIG, training=TRAINING, twin=TWIN, attributes=attributes)
    wrong = []
    for row in rows:
        metric = row["metric"]
        mean, spread = usual[metric]
        better = (row["value"] - mean) * {"up": 1, "down": -1, "none": 0}[row["direction"]]
        in_spreads = better / max(spread, 1 / N)
        for word, holds in (
            ("worse", in_spreads < -CLEARLY),
            ("better", in_spreads > CLEARLY),
            ("same", abs(in_spreads) < STILL),
        ):
            if metric in expected.get(word, []) and not holds:
                wrong.append(f"{metric} should be {word}: {row['value']:.4g} against {mean:.4g} ± {spread:.2g}")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_expected_of_a_score_that_does_not_exist(usual):
    named = {metric for _, words in EXPECTED.values() for metrics in words.values() for metric in metrics}
    assert named <= usual.keys()


def test_precision_is_fooled_by_an_outlier_of_the_reference_and_density_is_not(usual, attributes):
    """Show why density and coverage are computed in addition to precision and recall."""
    reference = REFERENCE.copy()
    reference[:4] = np.random.default_rng(5).standard_normal((4, D)) * 80
    noise = (np.random.default_rng(6).standard_normal((N, D)) * 12).astype(np.float32)
    before = {row["metric"]: row["value"] for row in score(noise, REFERENCE, CONFIG, families=("manifold",))}
    after = {row["metric"]: row["value"] for row in score(noise, reference, CONFIG, families=("manifold",))}
    assert before["precision"] < 0.05 and after["precision"] > 0.5
    assert after["density"] < 0.5 * usual["density"][0] and after["coverage"] < 0.1


def test_order_changes_no_score(attributes):
    """Check that reordering changes sums only by rounding, and counts not at all. Which of the cross-fitted classifiers
    judges an item depends on its place, which moves a mean of their confidence a little."""
    features, _ = real(30)
    a, b = values(features, attributes), values(features[::-1].copy(), attributes)
    assert a.pop("class_margin") == pytest.approx(b.pop("class_margin"), abs=0.01)
    assert a == pytest.approx(b, rel=1e-9)
