"""Which samples the rules of the project keep: farthest points, a verifier, a reward; and with whose features."""

from pathlib import Path
from typing import Any

import configs as c
import numpy as np
import pytest
from echo import features, small

from bench import audit, preflight, selection
from bench.errors import ConfigError
from bench.metrics.shared.classifier import fit_classifier
from bench.pool import Pool, Records
from bench.seeds import derive_seed
from bench.selection.diversity import Config as DiversityConfig
from bench.selection.reward import Config as RewardConfig
from bench.selection.verifier import Config as VerifierConfig


def candidates(points: np.ndarray, num_kept: int, real: np.ndarray, labels: np.ndarray, seed: int = 0) -> Any:
    pool = Pool(np.zeros((len(points), 3, 8, 8), np.uint8), Records.synthetic(0, np.arange(len(points))))
    described = selection.Features(points, real, {"colour": labels}, {"colour": ["red", "blue"]}, fit_classifier)
    return selection.Candidates(pool, num_kept, pool, np.random.default_rng(seed), described)


def kept(config: Any, given: selection.Candidates) -> np.ndarray:
    rule = selection.resolve(c.checked(config), given.num_kept)
    assert rule is not None
    return selection.keep(rule, given)


def no_real() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((4, 2)), np.zeros(4, int)


def test_farthest_points_are_one_of_each_cluster():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [100, 0], [0, 100], [100, 100], [300, 300]])
    sizes = [50, 5, 30, 2, 1]
    points = np.concatenate([rng.standard_normal((n, 2)) + centre for n, centre in zip(sizes, centres, strict=True)])
    for seed in range(5):
        rows = kept(DiversityConfig(num_candidates=88), candidates(points, 5, *no_real(), seed))
        assert sorted(np.repeat(range(5), sizes)[rows]) == [0, 1, 2, 3, 4]


def test_farthest_points_by_hand():
    points = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [6.0]])
    given = candidates(points, 4, *no_real(), seed=3)
    first = int(np.random.default_rng(3).integers(6))
    by_hand = [first]
    while len(by_hand) < 4:
        nearest = np.abs(points - points[by_hand].T).min(axis=1)
        by_hand.append(int(np.argmax(nearest)))
    np.testing.assert_array_equal(kept(DiversityConfig(num_candidates=6), given), sorted(by_hand))


def test_repeated_points_are_kept_only_where_nothing_else_is_left():
    points = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], 4, axis=0)
    rows = kept(DiversityConfig(num_candidates=12), candidates(points, 3, *no_real()))
    assert len(np.unique(points[rows], axis=0)) == 3
    assert len(kept(DiversityConfig(num_candidates=12), candidates(points, 12, *no_real()))) == 12


def test_a_verifier_keeps_what_looks_real():
    rng = np.random.default_rng(0)
    real = rng.standard_normal((400, 3))
    good, bad = rng.standard_normal((60, 3)), rng.standard_normal((140, 3)) + np.array([4, 0, 0])
    points = np.concatenate([bad, good])
    rows = kept(VerifierConfig(num_candidates=200), candidates(points, 60, real, np.zeros(400, int)))
    assert (rows >= 140).mean() > 0.9


def test_a_verifier_does_not_judge_what_it_has_learned():
    rng = np.random.default_rng(0)
    real, points = rng.standard_normal((30, 4)), rng.standard_normal((61, 4))
    judged: list[np.ndarray] = []

    def fit(learned: np.ndarray, labels: np.ndarray, num_classes: int) -> Any:
        known = {row.tobytes() for row in learned}
        assert {row.tobytes() for row in learned[labels == 1]} == {row.tobytes() for row in real}
        model = fit_classifier(learned, labels, num_classes)

        class Spy:
            def log_probabilities(self, asked: np.ndarray) -> np.ndarray:
                assert not known & {row.tobytes() for row in asked}
                judged.append(asked)
                return model.log_probabilities(asked)

        return Spy()

    given = candidates(points, 30, real, np.zeros(30, int))
    described = selection.Features(points, real, {}, {}, fit)
    kept(VerifierConfig(num_candidates=61), selection.Candidates(given.pool, 30, given.real, given.rng, described))
    assert sorted(map(bytes, np.concatenate(judged))) == sorted(map(bytes, points))


@pytest.mark.parametrize("name", ["red", "blue"])
def test_a_reward_raises_the_share_of_its_class(name):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    real = rng.standard_normal((200, 2)) + 6 * labels[:, None]
    truth = rng.permutation(labels)
    points = rng.standard_normal((200, 2)) + 6 * truth[:, None]
    wanted = ["red", "blue"].index(name)
    shares = []
    for temperature in (0.0, 1.0, 1000.0):
        config = RewardConfig(num_candidates=200, attribute="colour", class_name=name, temperature=temperature)
        rows = kept(config, candidates(points, 50, real, labels))
        shares.append((truth[rows] == wanted).mean())
    assert shares[0] == pytest.approx(1 - 0.5**4, abs=0.08) and shares[0] >= shares[1] > shares[2]
    assert shares[2] == pytest.approx(0.5, abs=0.15)


@pytest.fixture
def play(play: Any) -> Any:
    return lambda **changes: play(num_generations=2, mixing=c.ReplaceConfig(), **changes)[0]


RULES = [
    DiversityConfig(num_candidates=30),
    VerifierConfig(num_candidates=30),
    RewardConfig(num_candidates=40, attribute="colour", class_name="red", temperature=0.0),
]


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_chain_keeps_what_the_rule_keeps_of_its_candidates(play, rule):
    chain = play(selection=c.checked(rule))
    for row in chain.rows:
        store = Path(row.store_dir)
        drawn = Pool.load(store / row.artifacts["sample"] / "pool")
        real = Pool.load(store / row.artifacts["real"] / "train")
        described = selection.Features(
            features(drawn.items), features(real.items), real.records.labels, real.label_names, fit_classifier
        )
        rng = np.random.default_rng(derive_seed(5, row.generation, "select"))
        expected = kept(rule, selection.Candidates(drawn, 20, real, rng, described))
        np.testing.assert_array_equal(np.load(store / row.artifacts["select"] / "rows.npy"), expected)
        assert row.selection["num_candidates"] == rule.num_candidates and row.selection["num_kept"] == 20
    assert audit.main([str(chain.directory)]) == 0


@pytest.mark.parametrize(
    ("attribute", "name", "named"),
    [
        ("color", "red", "selection.attribute='color': must be one of species, colour, pose"),
        ("colour", "grey", "selection.class_name='grey': must be one of "),
    ],
)
def test_a_class_that_does_not_exist_is_refused_before_training(play, tmp_path, attribute, name, named):
    rule = RewardConfig(num_candidates=40, attribute=attribute, class_name=name)
    with pytest.raises(ConfigError) as error:
        play(selection=c.checked(rule))
    assert named in str(error.value) and not (tmp_path / "store" / "train").exists()


def test_a_selection_without_features_is_refused(tmp_path):
    config = small(tmp_path, selection=c.checked(RULES[0]), metrics=c.MetricsConfig(num_images=16, scores=["risk"]))
    with pytest.raises(ConfigError, match="selection=diversity needs features"):
        preflight.check(config)
