"""The score stage of a chain: every reference, both controls, and what makes its rows citable."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from configs import ProceduralConfig
from tiny_chain import run, tiny

from bench import ledger
from bench.config import Config, MetricsConfig


def shortly_trained(out: Path, metrics: MetricsConfig, **changes: Any) -> Config:
    config = tiny(out, metrics=metrics, **changes)
    training = dataclasses.replace(config.generator.training, num_steps=4, warmup_steps=0)
    return dataclasses.replace(config, generator=dataclasses.replace(config.generator, training=training))


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[ledger.Row]:
    metrics = MetricsConfig(num_images=32, references=["heldout", "real_train", "training"], num_resamples=2)
    data = ProceduralConfig(resolution=16, num_train=40, num_heldout=32, num_calibration=128)
    directory = run(shortly_trained(tmp_path_factory.mktemp("chain"), metrics, data=data))
    return ledger.read(directory / ledger.FILENAME)


COMPARISONS = ("fid", "kid", "precision", "recall", "density", "coverage")


def values(row: ledger.Row, subject: str, reference: str) -> dict[str, float]:
    return {s["metric"]: s["value"] for s in row.scores if (s["subject"], s["reference"]) == (subject, reference)}


def test_every_reference_and_control_has_its_rows(rows):
    for row in rows:
        comparisons = {"fid", "kid", "precision", "recall", "density", "coverage"}
        everything = {*comparisons, "vendi", "entropy", "near_duplicate_rate", "authenticity", "class_divergence"}
        assert everything <= values(row, "samples", "heldout").keys()
        for reference in ("real_train", "training"):
            assert values(row, "samples", reference).keys() == comparisons
        assert values(row, "shuffled", "heldout").keys() == comparisons
        floor = values(row, "real_train", "heldout")
        assert {*comparisons, "vendi", "class_divergence"} <= floor.keys() and "authenticity" not in floor
        assert all(s["num_subject"] == s["num_reference"] for s in row.scores)


def test_rows_name_what_they_were_measured_with(rows):
    row = rows[1]
    assert row.score["space"]["weights_sha256"].startswith("57934424")
    by_metric = {s["metric"]: s for s in row.scores if (s["subject"], s["reference"]) == ("samples", "heldout")}
    assert by_metric["authenticity"]["num_training"] == 40  # all that generation 1 trained on
    assert by_metric["fid"]["image_sd"] > 0 and by_metric["kid"]["subset_sd"] > 0
    attributes = {s["parameters"]["attribute"] for s in row.scores if s["metric"] == "class_divergence"}
    assert attributes == {"species", "colour", "pose"}
    pose = by_metric["class_divergence"]  # the last of the three
    assert sum(expected for _, expected, *_ in pose["counts"].values()) == pytest.approx(32, abs=0.01)
    assert "class_survival" not in by_metric  # 32 samples are too few to tell a dead class from a live one
    assert pose["refused"]["class_survival"].startswith("with 32 samples and a classifier of accuracy 0.")


def test_combinations_that_do_not_exist_are_looked_for_in_samples_and_floor(rows):
    found = [s for s in rows[0].scores if s["metric"] == "hallucination_sensitivity"]
    assert {s["subject"] for s in found} == {"samples", "real_train"}
    assert all(s["parameters"] == {"attribute": "species and colour"} and s["num_impossible"] > 60 for s in found)
    assert "with 32 samples and classifiers that" in found[0]["refused"]["hallucination_rate"]
    assert "hallucination_rate" not in {s["metric"] for s in rows[0].scores}


def test_the_first_generation_trains_on_real_images_and_the_floor_stays(rows):
    first, second = rows
    assert values(first, "real_train", "heldout") == values(second, "real_train", "heldout")
    assert values(first, "samples", "training").keys() == values(first, "samples", "real_train").keys()
    assert values(first, "samples", "heldout")["fid"] > values(first, "real_train", "heldout")["fid"]


def test_the_floor_has_an_interval_over_resplits_and_nothing_else_has(rows):
    floor = {s["metric"]: s for s in rows[0].scores if s["subject"] == "real_train"}
    others = [s for s in rows[0].scores if s["subject"] != "real_train"]
    assert {m for m, s in floor.items() if "resplit_low" in s} == set(COMPARISONS)
    assert not any("resplit_low" in s for s in others)
    assert floor["fid"]["resplit_low"] < floor["fid"]["value"] < floor["fid"]["resplit_high"]
    assert floor["fid"]["num_resplits"] == 10


def test_fewer_scores_leave_their_rows_out_and_are_another_result(tmp_path):
    config = shortly_trained(tmp_path, MetricsConfig(num_images=32, scores=["manifold"]), num_generations=1)
    row = ledger.read(run(config) / ledger.FILENAME)[0]
    assert {s["metric"] for s in row.scores} == {"precision", "recall", "density", "coverage"}
    other = dataclasses.replace(config, name="other", metrics=MetricsConfig(num_images=32, scores=["manifold"], k=5))
    again = ledger.read(run(other) / ledger.FILENAME)[0]
    assert again.artifacts["samples"] == row.artifacts["samples"]
    assert {s["parameters"]["k"] for s in again.scores} == {5}
