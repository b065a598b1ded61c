"""Detectors of every generation, and the marks of every generation: known answers, and whose model, key and samples."""

from pathlib import Path
from typing import Any

import configs as c
import numpy as np
import pytest
from echo import features, small
from scipy.stats import norm

from bench import generators, ledger, metrics, preflight, watermarks
from bench.config import MetricsConfig
from bench.detection import auroc
from bench.errors import ConfigError
from bench.metrics.shared.classifier import fit_classifier
from bench.pool import Pool
from bench.watermarks.initial_noise import Config as NoiseConfig
from bench.watermarks.pixel_pattern import Config as PatternConfig


def matrix(rows: list[dict[str, Any]]) -> dict[tuple[int, int], float]:
    found = [row for row in rows if row["metric"] == "detector_auroc" and row["subject"] == "samples"]
    return {(row["parameters"]["trained_on"], row["parameters"]["tested_on"]): row["value"] for row in found}


def test_detectors_tell_gaussians_as_well_as_they_can_and_not_those_of_another_direction():
    """AUROC = Φ(Δ/√2) along its own direction, 1/2 across it."""
    rng, n, distance = np.random.default_rng(0), 6000, 1.5
    first, second, subject, heldout = (
        rng.standard_normal((n, 4)) + distance * shift for shift in (*np.eye(4)[:3], np.zeros(4))
    )
    config = MetricsConfig(num_images=n, scores=["detection"])
    past = metrics.Past(2, (first, second))
    found = matrix(metrics.score((subject, heldout), config, past=past))
    assert set(found) == {(0, 2), (1, 2), (2, 0), (2, 1), (2, 2)}
    assert found[2, 2] == pytest.approx(norm.cdf(distance / np.sqrt(2)), abs=0.02)
    assert all(abs(found[pair] - 0.5) < 0.03 for pair in found if pair != (2, 2))


def test_detectors_are_tested_on_items_that_they_have_not_learned():
    """Of one distribution, in more dimensions than items: what was learned by heart would be told almost surely."""
    rng = np.random.default_rng(0)
    earlier, subject, heldout = (rng.standard_normal((200, 150)) for _ in range(3))
    config = MetricsConfig(num_images=200, scores=["detection"])
    found = matrix(metrics.score((subject, heldout), config, past=metrics.Past(1, (earlier,))))
    assert len(found) == 3 and all(abs(value - 0.5) < 0.15 for value in found.values())


@pytest.fixture
def play(play: Any) -> Any:
    def run(scores: list[str], **changes: Any) -> ledger.Chain:
        options = {"watermark": {"false_positive_rate": 0.25}} if "watermark" in scores else {}
        chosen = MetricsConfig(feature_space="echo:pixels", num_images=16, scores=scores, options=options)
        return play(metrics=chosen, **changes)[0]

    return run


def test_every_detector_is_fitted_to_the_samples_of_its_generation(play):
    chain = play(["detection"], mixing=c.ReplaceConfig())
    store = Path(chain.rows[0].store_dir)
    samples = [features(Pool.load(store / row.artifacts["samples"]).items[:16]) for row in chain.rows]
    heldout = features(Pool.load(store / chain.rows[0].artifacts["real"] / "heldout").items[:16])
    every: dict[tuple[int, int], float] = {}
    for row in chain.rows:
        found = matrix(row.scores)
        assert not found.keys() & every.keys()
        every |= found
    assert every.keys() == {(i, j) for i in range(3) for j in range(3)}
    for (i, j), value in every.items():
        model = fit_classifier(np.concatenate([heldout[:8], samples[i][:8]]), np.repeat([0, 1], 8), 2)
        by_hand = auroc(model.log_odds(heldout[8:]), model.log_odds(samples[j][8:]))
        assert value == pytest.approx(by_hand), (i, j)


def marks(row: ledger.Row, metric: str) -> list[float]:
    rows = [s for s in row.scores if s["metric"] == metric and s["subject"] == "samples"]
    return [s["value"] for s in sorted(rows, key=lambda s: s["parameters"]["mark_of"])]


def test_the_mark_of_each_generation_is_looked_for_in_the_samples_of_each(play):
    mark = c.checked(PatternConfig(strength=60, keys="per_generation"))
    chain = play(["watermark"], watermark=mark)
    for row in chain.rows:
        rates = marks(row, "mark_rate")
        assert len(rates) == row.generation + 1 and rates[-1] == 1 == marks(row, "mark_auroc")[-1]
        assert all(rate < 0.7 for rate in rates[:-1])
        store, of = Path(row.store_dir), watermarks.resolve(mark)
        assert of is not None
        folders = store / row.artifacts["real"] / "heldout", store / row.artifacts["samples"]
        sides = [Pool.load(folder).items[:16] for folder in folders]
        by_hand = [auroc(*(of.scores(i, items, None) for items in sides)) for i in range(row.generation + 1)]
        assert marks(row, "mark_auroc") == pytest.approx(by_hand)
    again = play(["watermark"], name="one", watermark=c.checked(PatternConfig(strength=60)))
    assert all(rate == 1 for row in again.rows for rate in marks(row, "mark_rate"))


def test_the_mark_of_a_generation_is_read_with_its_own_model(play, monkeypatch):
    """Of chains that share their held-out items, and of held-out items once for all generations."""
    calls: list[Path] = []

    def noise(model: Path, items: Any) -> np.ndarray:
        text = (model / "weights").read_bytes() + bytes(np.asarray(items))
        return np.random.default_rng(list(text)).standard_normal((len(items), 3, 8, 8)).astype(np.float32)

    def invert(config: Any, model: Path, items: Any, **others: Any) -> np.ndarray:
        calls.append(model)
        return noise(model, items)

    monkeypatch.setattr(generators, "invert", invert)
    mark = c.checked(NoiseConfig(strength=0.2, keys="per_generation"))
    of = watermarks.resolve(mark)
    assert of is not None
    for seed in (0, 1):
        chain = play(["watermark"], watermark=mark, seed=seed, name=f"seed{seed}")
        store = Path(chain.rows[0].store_dir)
        models = [store / row.artifacts["model"] for row in chain.rows]
        of_heldout, of_samples = [[models[last]] for last in range(3)], [models[: last + 1] for last in range(3)]
        assert calls == [model for pair in zip(of_heldout, of_samples, strict=True) for part in pair for model in part]
        calls.clear()
        heldout = Pool.load(store / chain.rows[0].artifacts["real"] / "heldout").items[:16]
        for row in chain.rows:
            samples = Pool.load(store / row.artifacts["samples"]).items[:16]
            by_hand = [
                auroc(*(of.scores(i, items, noise(models[i], items)) for items in (heldout, samples)))
                for i in range(row.generation + 1)
            ]
            assert marks(row, "mark_auroc") == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("scores", "mark", "named"),
    [
        (["watermark"], None, "the score family watermark looks for a mark"),
        (["watermark"], PatternConfig(), "metrics.num_images=16: a false-positive rate of 0.01 needs at least 99"),
    ],
)
def test_what_no_mark_can_be_told_from_is_refused_before_training(tmp_path, scores, mark, named):
    changes = {"watermark": c.checked(mark)} if mark else {}
    config = small(
        tmp_path, metrics=MetricsConfig(feature_space="echo:pixels", num_images=16, scores=scores), **changes
    )
    with pytest.raises(ConfigError) as error:
        preflight.check(config)
    assert named in str(error.value)
    assert watermarks.resolve(config.watermark) is None or mark
