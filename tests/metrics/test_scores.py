import dataclasses
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from scoring import (
    ReferenceStatistics,
    fit_attributes,
    reference_statistics,
    score,
    score_spec,
    score_with_controls,
    shuffled,
)

from bench import metrics
from bench.analysis.uncertainty import resample_images
from bench.config import MetricsConfig
from bench.errors import ConfigError, MetricError
from bench.metrics import Inputs, Value
from bench.metrics.shared.class_survival import tail_scores
from bench.metrics.shared.classifier import NUM_FOLDS, fit_classifier
from bench.metrics.shared.frechet_distance import frechet_distance, frechet_infinity
from bench.metrics.shared.kernel_distance import kernel_distance
from bench.metrics.shared.nearest_training import copying_scores
from bench.metrics.shared.precision_recall import manifold_scores
from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score

CONFIG = MetricsConfig(num_images=60, k=3)


def two_sets(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6)).astype(np.float32) * 0.5, rng.standard_normal((n, 6)).astype(np.float32)


def test_rows_say_all_that_is_needed_to_read_them():
    rows = score(*two_sets(), CONFIG, subject="real_train")
    by_name = {row["metric"]: row for row in rows}
    assert {"fid", "precision", "recall", "density", "coverage"} <= by_name.keys()
    assert by_name["recall"] == {
        "metric": "recall",
        "feature_space": "efficientnet_lite0",
        "subject": "real_train",
        "reference": "heldout",
        "num_subject": 60,
        "num_reference": 60,
        "parameters": {"k": 3},
        "value": by_name["recall"]["value"],
        "direction": "up",
    }
    assert by_name["fid"]["direction"] == "down" and by_name["fid"]["parameters"] == {}
    assert all(type(row["value"]) is float for row in rows)


def test_subject_and_reference_are_not_swapped():
    """Check that a shrunken subject lies inside the reference (precision) and does not cover it (recall)."""
    values = {row["metric"]: row["value"] for row in score(*two_sets(), CONFIG)}
    assert values["precision"] > 0.9 > 0.7 > values["recall"]


def test_every_family_has_rows_and_extra_inputs_add_theirs():
    subject, reference = two_sets()
    plain = {row["metric"] for row in score(subject, reference, CONFIG)}
    assert {"fid", "kid", "recall", "vendi", "entropy", "near_duplicate_rate"} <= plain
    assert not plain & {"authenticity", "class_survival"}
    labels = {"kind": (reference[:, 0] > 0).astype(int), "unlabelled": np.full(60, -1)}
    names = {"kind": ["left", "right"], "unlabelled": ["any"]}
    attributes = fit_attributes(reference, labels, reference, labels, names)
    twin = (reference[:20], reference[20:40])
    rows = score(subject, reference, CONFIG, training=reference[:30], twin=twin, attributes=attributes)
    by_name = {row["metric"]: row for row in rows}
    assert {"authenticity", "near_copy_rate", "class_survival", "classifier_accuracy"} <= by_name.keys()
    assert by_name["class_survival"]["parameters"] == {"attribute": "kind"}
    assert list(by_name["class_divergence"]["counts"]) == ["left", "right"]
    assert by_name["authenticity"]["num_training"] == 30 and by_name["near_copy_rate"]["num_training"] == 20
    without = score(subject, reference, CONFIG, training=reference[:30], families=("copying",))
    assert {row["metric"] for row in without} == {"nn_distance_training", "nn_distance_heldout", "authenticity"}
    only = score(subject, reference, CONFIG, families=("kernel",), training=reference)
    assert [row["metric"] for row in only] == ["kid"] and only[0]["subset_sd"] > 0
    assert only[0]["parameters"] == {"num_subsets": 100, "subset_size": 30}


def test_resamples_give_a_standard_deviation():
    config = MetricsConfig(num_images=60, num_resamples=20, scores=["frechet", "manifold"])
    rows = score(*two_sets(), config)
    assert all(row["image_sd"] > 0 for row in rows if row["metric"] in ("fid", "recall", "coverage"))
    assert "image_sd" not in score(*two_sets(), CONFIG)[0]


def test_shuffled_sets_are_alike_and_do_not_depend_on_order():
    subject, reference = two_sets(400)
    a, b = shuffled(subject, reference)
    config = MetricsConfig(num_images=400, scores=["frechet"])
    apart = score(subject, reference, config)[0]["value"]
    mixed = score(a, b, config)[0]["value"]
    floor = score(subject[:200], subject[200:], config)[0]["value"]
    assert mixed < 0.2 * apart and mixed < 3 * floor
    np.testing.assert_array_equal(shuffled(subject[::-1], reference)[0], a)


def test_same_input_same_rows():
    assert score(*two_sets(), CONFIG) == score(*two_sets(), CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"num_images": 61},
        {"k": 4},
        {"scores": ["frechet"]},
        {"references": ["heldout", "training"]},
        {"options": {"kernel": {"num_subsets": 99}}},
        {"options": {"kernel": {"subset_size": 999}}},
        {"num_resamples": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_spec_tells_configs_apart(change):
    changed = dataclasses.replace(CONFIG, **change)
    assert json.dumps(score_spec(CONFIG)) != json.dumps(score_spec(changed))
    assert score_spec(CONFIG) == score_spec(MetricsConfig(num_images=60, k=3))


def test_spec_tells_versions_of_the_scores_apart(monkeypatch):
    before = score_spec(CONFIG)
    for family in CONFIG.scores:
        module = import_module(f"bench.metrics.{family}")
        with monkeypatch.context() as patch:
            patch.setattr(module, "VERSION", module.VERSION + 1)
            assert score_spec(CONFIG) != before


def test_bad_input_is_refused_before_work():
    subject, reference = two_sets()
    with pytest.raises(MetricError, match="subject 59, reference 60"):
        score(subject[:59], reference, CONFIG)
    with pytest.raises(MetricError, match="k = 3"):
        score(subject[:3], reference[:3], CONFIG)
    subject[7] = np.inf
    with pytest.raises(MetricError, match="first row 7"):
        score(subject, reference, CONFIG)


def test_a_score_that_is_no_number_is_an_error(monkeypatch):
    family = import_module("bench.metrics.frechet")
    monkeypatch.setattr(family, "score", lambda inputs, config: iter([family.Value("fid", np.nan, "down", {"k": 2})]))
    with pytest.raises(MetricError, match="fid, k 2: the score of samples against heldout is nan"):
        score(*two_sets(), dataclasses.replace(CONFIG, scores=["frechet"]))


@pytest.mark.parametrize("n", [60, 6])
def test_what_is_known_of_the_reference_changes_nothing(n):
    """Check also sets with no more images than features, whose statistics have another form."""
    subject, reference = two_sets(n)
    known = reference_statistics(reference, CONFIG)
    read_back = ReferenceStatistics.of(known.arrays(), len(reference))
    training = reference[: n // 2] + 0.1
    assert score(subject, reference, CONFIG, training=training, known=read_back) == score(
        subject, reference, CONFIG, training=training
    )
    with pytest.raises(MetricError, match="constant"):
        reference_statistics(np.ones((20, 4), np.float32), CONFIG)


def four_sets() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return subject, reference, training images (more than the others), and labels of two attributes of these."""
    rng = np.random.default_rng(7)
    subject, reference, training = rng.gamma(2, 1, (48, 5)), rng.gamma(2.5, 1, (48, 5)), rng.gamma(2.2, 1, (70, 5))
    return subject, reference, training, (training[:, 0] > 2).astype(int)


def test_every_row_holds_the_result_of_its_own_function_for_the_right_sides():
    """Check with settings that are no function's default."""
    subject, reference, training, labels = four_sets()
    size = (reference[:, 1] > 2).astype(int) + (reference[:, 1] > 3.5)
    attributes = fit_attributes(
        training,
        {"side": labels, "size": (training[:, 1] > 2).astype(int) + (training[:, 1] > 3.5)},
        reference,
        {"side": (reference[:, 0] > 2).astype(int), "size": size},
        {"side": ["left", "right"], "size": ["s", "m", "l"]},
    )
    config = MetricsConfig(num_images=48, k=2, options={"kernel": {"num_subsets": 7, "subset_size": 11}})
    twin = (training[:40], training[30:] * np.float64(1.3))
    rows = score(subject, reference, config, training=training, twin=twin, attributes=attributes)

    kid = kernel_distance(subject, reference, 7, 11)
    manifold, copying = manifold_scores(subject, reference, 2), copying_scores(subject, reference, training, twin=twin)
    expected = {
        "fid": (frechet_distance(subject, reference), "down"),
        "fid_infinity": (frechet_infinity(subject, reference), "down"),
        "kid": (kid.mean, "down"),
        **{name: (value, "up") for name, value in vars(manifold).items()},
        "vendi": (vendi_score(subject), "none"),
        "vendi_distance": (abs(np.log(vendi_score(subject) / vendi_score(reference))), "down"),
        "entropy": (entropy_estimate(subject, 2), "none"),
        "entropy_distance": (abs(entropy_estimate(subject, 2) - entropy_estimate(reference, 2)), "down"),
        "near_duplicate_rate": (near_duplicate_rate(subject, reference), "down"),
        **{
            name: (getattr(copying, name), "up" if name == "authenticity" else "down")
            for name in ("nn_distance_training", "nn_distance_heldout", "closer_to_training", "authenticity",
                         "near_copy_rate")
        },
    }  # fmt: skip
    by_metric = {row["metric"]: row for row in rows if "attribute" not in row["parameters"]}
    assert by_metric.keys() == expected.keys()
    for name, (value, direction) in expected.items():
        assert by_metric[name]["value"] == pytest.approx(value, rel=1e-9), name
        assert by_metric[name]["direction"] == direction, name
    assert by_metric["kid"]["subset_sd"] == kid.sd
    assert by_metric["kid"]["parameters"] == {"num_subsets": 7, "subset_size": 11}
    assert by_metric["entropy"]["parameters"] == by_metric["density"]["parameters"] == {"k": 2}
    # Distances shrink with the size of a set, so two sets that are compared have the same size.
    counted = {name: row["num_training"] for name, row in by_metric.items() if "num_training" in row}
    assert counted == {
        "nn_distance_training": 48, "nn_distance_heldout": 48, "closer_to_training": 40, "authenticity": 70,
        "near_copy_rate": 40,
    }  # fmt: skip

    for name, attribute in attributes.items():
        result = tail_scores(attribute.predict(subject), attribute)
        of = {row["metric"]: row for row in rows if row["parameters"] == {"attribute": name}}
        expected = {
            "class_survival": (result.survival, "up"),
            "tail_survival": (result.tail_survival, "up"),
            "head_survival": (result.head_survival, "up"),
            "class_divergence": (result.divergence, "down"),
            "classifier_accuracy": (attribute.accuracy, "up"),
            "class_margin": (attribute.margin(subject).mean(), "up"),
        }
        given = {metric: value for metric, value in expected.items() if value[0] is not None}
        assert {metric: (row["value"], row["direction"]) for metric, row in of.items()} == given
        assert set(of["class_divergence"]["refused"]) == set(expected) - set(given)
        counts = of["class_divergence"]["counts"]
        assert list(counts) == attribute.class_names
        columns = np.stack([result.counts, result.expected, result.low, result.high], 1)
        np.testing.assert_allclose(list(counts.values()), columns, atol=1e-3)


def test_classifiers_learn_from_training_images_and_are_held_to_the_others():
    _, reference, training, labels = four_sets()
    truth = (reference[:, 0] > 3).astype(int)  # another threshold, so that the classifier cannot be perfect
    fitted = fit_attributes(training, {"side": labels}, reference, {"side": truth}, {"side": ["a", "b", "never"]})
    assert fitted["side"].class_names == ["a", "b", "never"]
    fold, right = np.arange(70) % NUM_FOLDS, []
    for k, model in enumerate(fitted["side"].models):
        expected = fit_classifier(training[fold != k], labels[fold != k], 3)
        np.testing.assert_allclose(model.weight, expected.weight)
        right.append(np.mean(expected.predict(reference) == truth))
    assert fitted["side"].accuracy == pytest.approx(np.mean(right)) and np.mean(right) < 1
    assert fitted["side"].confusion.sum(1) == pytest.approx([*np.bincount(truth), 0])
    np.testing.assert_array_equal(fitted["side"].train_counts, [*np.bincount(labels), 0])


def test_attributes_that_cannot_be_learnt_or_checked_are_left_out():
    _, reference, training, labels = four_sets()
    one, none, two = np.where(labels > 0, 1, -1), np.full(48, -1), (reference[:, 0] > 2).astype(int)
    fitted = fit_attributes(
        training,
        {"one class": one, "unseen": labels, "good": labels},
        reference,
        {"one class": two, "unseen": none, "good": two},
        {name: ["a", "b"] for name in ("one class", "unseen", "good")},
    )
    assert fitted.keys() == {"good"}


def test_families_that_are_not_selected_or_lack_inputs_are_left_out():
    subject, reference, training, labels = four_sets()
    attributes = fit_attributes(training, {"a": labels}, training, {"a": labels}, {"a": ["x", "y"]})
    given: dict[str, Any] = {"training": training, "twin": (training, training + 1), "attributes": attributes}
    of = {
        "frechet": {"fid", "fid_infinity"},
        "kernel": {"kid"},
        "manifold": {"precision", "recall", "density", "coverage"},
        "diversity": {"vendi", "vendi_distance", "entropy", "entropy_distance", "near_duplicate_rate"},
        "copying": {"nn_distance_training", "nn_distance_heldout", "closer_to_training", "authenticity",
                    "near_copy_rate"},
        "tails": {"class_survival", "tail_survival", "head_survival", "class_divergence", "classifier_accuracy",
                  "class_margin"},
    }  # fmt: skip
    for family, names in of.items():
        config = MetricsConfig(num_images=48, scores=[family])
        all_rows = score(subject, reference, config, **given)
        assert {row["metric"] for row in all_rows} == names
        by_argument = score(
            subject,
            reference,
            MetricsConfig(num_images=48),
            families=[family],
            **given,
        )
        assert by_argument == all_rows
        others = [name for name in of if name != family]
        assert score(subject, reference, config, families=others, **given) == []
    assert score(subject, reference, MetricsConfig(num_images=48, scores=["copying", "tails"])) == []
    comparisons = {family.name for family in metrics.families(CONFIG) if family.is_comparison}
    assert comparisons == {"frechet", "kernel", "manifold"}


def test_fid_is_extrapolated_from_one_and_a_half_images_per_feature_on():
    rng = np.random.default_rng(3)
    for d, has in ((40, True), (41, False)):
        rows = score(rng.standard_normal((60, d)), rng.standard_normal((60, d)), CONFIG, families=("frechet",))
        assert ("fid_infinity" in {row["metric"] for row in rows}) == has


def test_fid_says_its_dimension_and_warns_once_where_there_are_fewer_items_than_features(caplog):
    rng = np.random.default_rng(4)
    metrics.warn_of_few.cache_clear()
    for d, warned in ((59, 0), (60, 0), (61, 1), (61, 1)):
        pair = rng.standard_normal((60, d)), rng.standard_normal((60, d))
        rows = score_with_controls(*pair, dataclasses.replace(CONFIG, scores=["frechet"]), [])
        assert {row["dimension"] for row in rows} == {d}
        assert caplog.text.count("N/d = 0.98") == warned
    score_with_controls(*pair[::-1], dataclasses.replace(CONFIG, scores=["kernel"], feature_space="other"), [])
    assert caplog.text.count("N/d") == 1


def test_fid_at_few_items_rewards_shrinking():
    """Check the case that docs/scores.md warns of: N/d = 1.22."""
    draws = np.random.default_rng(5).standard_normal((6, 2, 156, 128))
    real, shrunken = (np.mean([frechet_distance(a * by, b) for a, b in draws]) for by in (1, 0.9))
    assert shrunken < real - 2


@pytest.mark.parametrize(("n", "asked", "got"), [(60, 1000, 30), (60, 30, 30), (60, 12, 12), (5, 9, 2), (4, 3, 2)])
def test_kid_takes_subsets_of_at_most_half_of_the_images(n, asked, got):
    config = MetricsConfig(num_images=60, options={"kernel": {"subset_size": asked}})
    (row,) = score(*two_sets(n), config, families=("kernel",))
    assert row["parameters"]["subset_size"] == got


def test_the_spread_over_images_is_that_of_the_same_scores_of_half_samples():
    subject, reference, training, _ = four_sets()
    config = MetricsConfig(
        num_images=48, k=2, num_resamples=5, scores=["frechet", "kernel", "manifold", "diversity", "copying"]
    )
    rows = score(subject, reference, config, training=training, families=("frechet", "kernel", "manifold", "copying"))

    def of_halves(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"fid": frechet_distance(a, b), "fid_infinity": frechet_infinity(a, b), **vars(manifold_scores(a, b, 2))}

    expected = resample_images(of_halves, subject, reference, 5)
    spreads = {row["metric"]: row["image_sd"] for row in rows if "image_sd" in row}
    assert spreads == pytest.approx(expected)  # none for KID, which has its own spread over subsets, nor for copying
    # Statistics of the whole reference must not be used for its halves.
    again = score(
        subject, reference, config, families=("frechet", "manifold"), known=reference_statistics(reference, config)
    )
    assert {row["metric"]: row["image_sd"] for row in again} == pytest.approx(expected)
    varied = score(subject, reference, config, families=("diversity",))
    assert all(row["image_sd"] > 0 for row in varied if row["metric"] != "near_duplicate_rate")


def test_rows_name_the_given_sides_and_space():
    subject, reference = two_sets()
    config = MetricsConfig(num_images=60, feature_space="dinov2", scores=["manifold"])
    for row in score(subject, reference, config, subject="shuffled", reference="training"):
        assert (row["subject"], row["reference"], row["feature_space"]) == ("shuffled", "training", "dinov2")
    row = score(subject, reference, config)[0]
    assert (row["subject"], row["reference"]) == ("samples", "heldout")


def test_shuffled_sets_are_a_deal_of_both_and_know_no_sides():
    subject, reference = two_sets(50)
    a, b = shuffled(subject, reference)
    assert len(a) == len(b) == 50

    def rows(x: np.ndarray) -> set[bytes]:
        return {row.tobytes() for row in x}

    assert rows(a) | rows(b) == rows(subject) | rows(reference) and not rows(a) & rows(b)
    for side in (a, b):
        assert 10 < len(rows(side) & rows(subject)) < 40
    for x, y in zip(shuffled(reference, subject), (a, b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert rows(shuffled(subject, reference, seed=1)[0]) != rows(a)
    with pytest.raises(MetricError, match="N differs"):
        shuffled(subject[:49], reference)


def test_what_is_known_of_a_reference_is_refused_where_it_cannot_be_used():
    with pytest.raises(MetricError, match="k = 3"):
        reference_statistics(two_sets(3)[1], CONFIG)
    assert reference_statistics(two_sets()[1], CONFIG).own_distances.shape == (60, 3)


def test_twins_weigh_alike_whatever_they_are_compared_with():
    """Check that radii of zero are raised to the rounding of distances in their own set, not in one far away."""
    x = np.repeat(np.random.default_rng(4).standard_normal((30, 4)), 2, axis=0)

    def value(rows: list[dict[str, Any]]) -> float:
        return next(row["value"] for row in rows if row["metric"] == "entropy")

    for reference in (x + 0.1, 100 + x):
        rows = score(x, reference, CONFIG, families=("diversity",))
        assert value(rows) == pytest.approx(entropy_estimate(x, 3), abs=1e-9)
        k_1 = score(x, reference, MetricsConfig(num_images=60, k=1), families=("diversity",))
        assert value(k_1) == pytest.approx(entropy_estimate(x, 1), abs=1e-9)
        assert value(k_1) < value(rows) - 1


def test_noise_is_more_varied_than_real_items_and_ranks_behind_them():
    rng = np.random.default_rng(6)
    axes = rng.standard_normal((2, 12)) * 4
    real, again = (rng.standard_normal((60, 2)) @ axes + rng.standard_normal((60, 12)) for _ in range(2))
    noise = rng.standard_normal((60, 12)) * 6
    of = [{r["metric"]: r["value"] for r in score(x, real, CONFIG, families=("diversity",))} for x in (again, noise)]
    for name in ("vendi", "entropy", "vendi_distance", "entropy_distance"):
        assert of[1][name] > of[0][name], name
    equal = {row["metric"]: row["value"] for row in score(real, real, CONFIG, families=("diversity",))}
    assert equal["vendi_distance"] == equal["entropy_distance"] == 0
    fewer = {row["metric"]: row["value"] for row in score(real / 3, real, CONFIG, families=("diversity",))}
    assert fewer["entropy_distance"] == pytest.approx(np.log(3))


def test_a_subject_is_scored_together_with_its_controls():
    """Check the order of the rows; other references are used only if the configuration names them."""
    subject, reference, training, _ = four_sets()
    config = MetricsConfig(num_images=48, references=["heldout", "training", "real_train"])
    floor = [{"metric": "fid", "subject": "real_train"}]
    others = {"unnamed": reference, "real_train": reference[:20], "training": training}
    rows = score_with_controls(subject, reference, config, floor, training=training, others=others)
    main = score(subject, reference, config, training=training)
    a, b = shuffled(subject, reference)
    pairs = (
        (subject, training[:48], "samples", "training"),
        (subject[:20], reference[:20], "samples", "real_train"),
        (a, b, "shuffled", "heldout"),
    )
    first, second, last = (
        score(x, y, config, subject=name, reference=to, families=("frechet", "kernel", "manifold"))
        for x, y, name, to in pairs
    )
    assert rows == [*main, *first, *second, *floor, *last]
    alone = score_with_controls(subject, reference, config, [], subject="fake", reference="real")
    assert {(row["subject"], row["reference"]) for row in alone} == {("fake", "real"), ("shuffled", "real")}


ASKED: list[Inputs] = []
NEEDS, VERSION = ("items",), 1


def asks(inputs: Inputs, config: None) -> Iterator[Value]:
    """A family of scores for the test below."""
    ASKED.append(inputs)
    yield Value("asked", 1.0, "up")


@pytest.mark.parametrize(
    ("needs", "gets"),
    [
        (("features",), {"features", "known"}),
        (("items",), {"items"}),
        (("features", "training"), {"features", "known", "training", "twin"}),
        (("items", "training"), {"items", "training_items", "twin_items"}),
        (("features", "labels"), {"features", "known", "attributes"}),
        (("items", "model"), {"items", "model"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_family_gets_what_it_needs_and_nothing_else(needs, gets, monkeypatch):
    monkeypatch.setattr(f"{__name__}.NEEDS", needs)
    pair = two_sets()
    everything = {
        "items": pair, "training": pair[0], "training_items": pair[0], "twin": pair, "twin_items": pair,
        "attributes": {}, "model": lambda items: {}, "known": reference_statistics(pair[1], CONFIG),
    }  # fmt: skip
    ASKED.clear()
    metrics.score(pair, MetricsConfig(num_images=60, scores=[f"{__name__}:asks"]), **everything)
    (inputs,) = ASKED
    fields = (*everything, "features")
    assert {name for name in fields if getattr(inputs, name) is not None} == gets


@pytest.mark.parametrize(
    ("needs", "named"),
    [
        (("labels",), "must need both"),
        (("training", "model"), "which it must need as well"),
        (("pixels",), "a score family may need features, items"),
    ],
)
def test_needs_that_nothing_can_meet_are_refused(needs, named, monkeypatch):
    monkeypatch.setattr(f"{__name__}.NEEDS", needs)
    with pytest.raises(ConfigError, match=named):
        metrics.families(MetricsConfig(scores=[f"{__name__}:asks"]))
