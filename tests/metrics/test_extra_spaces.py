"""Scores in a second feature space: the same as in a run of that space alone, and of the same samples."""

import pytest
import tiny_chain
from shrunk import composed

from bench import ledger, preflight, stages
from bench.config import MetricsConfig
from bench.errors import ConfigError, DataError

SPACES = ("efficientnet_lite0", "pixels")


def scores(out, space: str, *extra: str) -> list[dict]:
    metrics = MetricsConfig(
        num_images=32, feature_space=space, scores=["frechet", "manifold", "copying"], extra_spaces=list(extra)
    )
    config = tiny_chain.tiny(out, num_generations=1, metrics=metrics)
    return ledger.read(tiny_chain.run(config) / ledger.FILENAME)[0].scores


def test_scores_of_an_extra_space_are_those_of_a_run_of_that_space(tmp_path):
    both = scores(tmp_path, *SPACES)
    alone = {space: scores(tmp_path, space) for space in SPACES}
    assert [s for s in both if s["feature_space"] == SPACES[0]] == alone[SPACES[0]]
    extra = [s for s in both if s["feature_space"] == SPACES[1]]
    compared = ("fid", "fid_infinity", "precision", "recall", "density", "coverage")
    assert extra == [s for s in alone[SPACES[1]] if s["metric"] in compared]
    assert {s["subject"] for s in extra} == {"samples", "real_train", "shuffled"}


def test_the_first_space_comes_first_and_the_console_shows_it_alone(tmp_path, capsys):
    assert scores(tmp_path, *SPACES)[0]["feature_space"] == SPACES[0]
    assert capsys.readouterr().err.count("FID ") == 1


def test_real_items_are_scored_in_every_space_before_the_first_training(tmp_path, monkeypatch):
    """So weights of another network and constant features are found before hours of training, not after them."""
    asked, honest = [], stages.floor

    def floor(context, settings, real):
        asked.append(settings.feature_space)
        return honest(context, settings, real)

    def train(*arguments, **given):
        raise DataError("the first training")

    monkeypatch.setattr(stages, "floor", floor)
    monkeypatch.setattr(stages, "train", train)
    with pytest.raises(DataError, match="the first training"):
        scores(tmp_path, *SPACES)
    assert asked == list(SPACES)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["metrics.extra_spaces=[nonsense]"], r"metrics\.extra_spaces='nonsense'"),
        (["metrics.extra_spaces=[efficientnet_lite0]"], "must be different"),
        (["metrics.extra_spaces=[pixels]", "+metrics.extra_weights={dinov2: x}"], "is none of metrics.extra_spaces"),
        (["metrics.extra_spaces=[pixels]", "metrics.scores=[copying]"], "compares two sets of features"),
    ],
)
def test_extra_spaces_are_checked_before_anything_runs(overrides, message):
    with pytest.raises(ConfigError, match=message):
        preflight.check(composed(*overrides))
