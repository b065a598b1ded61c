"""Watermarks: what they leave in noise and pixels, how they are read, the threshold, which model and key are used."""

from functools import partial
from pathlib import Path
from typing import Any

import configs as c
import numpy as np
import pytest
import torch
from echo import small, with_reserve
from scipy.stats import norm

from bench import audit, generators, preflight, provenance, vetting, watermarks
from bench.composition import Composition
from bench.detection import threshold_at
from bench.errors import ConfigError
from bench.generators.vae import Config as VAEConfig
from bench.pool import Pool
from bench.vetting.watermark import Config as VetConfig
from bench.watermarks import initial_noise, pixel_pattern
from bench.watermarks.initial_noise import Config as NoiseConfig
from bench.watermarks.pixel_pattern import Config as PatternConfig

SHAPE = (3, 16, 16)


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_marked_noise_has_the_signs_of_the_key_and_the_magnitudes_as_drawn(strength):
    config = c.checked(NoiseConfig(strength=strength))
    noise = torch.randn(200, *SHAPE, generator=torch.Generator().manual_seed(0))
    marked = initial_noise.mark_noise(config, 7, noise)
    torch.testing.assert_close(marked.abs(), noise.abs(), rtol=0, atol=0)
    changed = (marked != noise).float().mean().item()
    assert changed == pytest.approx(strength / 2, abs=0.02)
    assert (initial_noise.scores(config, 7, None, marked.numpy()) == 1).all()
    for key, values in ((7, noise), (8, marked)):
        scores = initial_noise.scores(config, key, None, values.numpy())
        assert scores.mean() == pytest.approx(0.5, abs=0.08)


def test_marked_noise_is_normal_at_each_position_over_keys():
    config = c.checked(NoiseConfig())
    noise = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    over_keys = np.stack([initial_noise.mark_noise(config, key, noise).numpy()[0] for key in range(400)])
    assert abs(np.sign(over_keys).mean(axis=0)).max() < 5 / np.sqrt(400)


@pytest.mark.parametrize("strength", [1, 4, 16])
def test_the_score_of_a_pattern_is_its_strength(strength):
    config = c.checked(PatternConfig(strength=strength))
    plain = np.random.default_rng(0).integers(64, 192, (500, *SHAPE)).astype(np.uint8)
    marked = pixel_pattern.mark_items(config, 3, plain)
    assert set(np.unique(marked.astype(int) - plain)) == {-strength, strength}
    gained = pixel_pattern.scores(config, 3, marked) - pixel_pattern.scores(config, 3, plain)
    np.testing.assert_allclose(gained, strength, rtol=1e-5)
    assert abs(pixel_pattern.scores(config, 4, marked).mean()) < 1
    smooth = np.full((1, *SHAPE), 100, np.uint8) + np.arange(16, dtype=np.uint8)
    inner = pixel_pattern.residual(smooth)[..., 1:-1, 1:-1]
    np.testing.assert_allclose(inner, 0, atol=1e-5)


def test_a_pattern_is_clipped_where_pixels_end():
    marked = pixel_pattern.mark_items(
        c.checked(PatternConfig(strength=9)), 1, np.array([0, 255] * 384, np.uint8).reshape(1, *SHAPE)
    )
    assert marked.dtype == np.uint8 and set(np.unique(marked)) == {0, 9, 246, 255}


def test_detection_of_a_pattern_in_white_noise_is_that_of_the_matched_filter():
    """With d' = strength / standard deviation of the score, TPR = Φ(d' − z)."""
    config = c.checked(PatternConfig(strength=4))
    rng = np.random.default_rng(1)
    images = (128 + 40 * rng.standard_normal((6000, *SHAPE))).clip(0, 255).round().astype(np.uint8)
    plain = pixel_pattern.scores(config, 5, images)
    marked = pixel_pattern.scores(config, 5, pixel_pattern.mark_items(config, 5, images))
    threshold = threshold_at(plain[:3000], 0.05)
    assert (plain[3000:] > threshold).mean() == pytest.approx(0.05, abs=0.015)
    d = 4 / plain.std()
    assert (marked[3000:] > threshold).mean() == pytest.approx(norm.cdf(d - norm.ppf(0.95)), abs=0.03)


@pytest.mark.parametrize(("num", "rate"), [(19, 0.05), (99, 0.01), (100, 0.01), (7, 0.2)])
def test_the_threshold_keeps_its_rate_on_the_next_real_image(num, rate):
    rng = np.random.default_rng(0)
    exceeded = [rng.random() > threshold_at(rng.random(num), rate) for _ in range(20_000)]
    expected = np.floor(rate * (num + 1) + 1e-9) / (num + 1)
    assert expected <= rate and np.mean(exceeded) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))


def test_too_few_real_images_for_the_rate_are_refused():
    c.checked(VetConfig(false_positive_rate=0.01, num_calibration=99))
    with pytest.raises(ConfigError, match=r"num_calibration=98: a false-positive rate of 0\.01 needs at least 99"):
        c.checked(VetConfig(false_positive_rate=0.01, num_calibration=98))


# which model and which key


@pytest.fixture
def play(play: Any) -> Any:
    return partial(play, num_generations=4)


KEEN = VetConfig(false_positive_rate=0.2, num_calibration=4)


@pytest.mark.parametrize("keys", ["one", "per_generation"])
def test_samples_carry_the_key_of_their_generation(play, keys):
    mark = c.checked(PatternConfig(strength=30, keys=keys, key=5))
    chain, stand_in = play(watermark=mark)
    of = watermarks.resolve(mark)
    for row in chain.rows:
        store = Path(row.store_dir)
        marked = Pool.load(store / row.artifacts["samples"]).items
        scores = [pixel_pattern.scores(mark, of.key(g), marked).mean() for g in range(4)]
        if keys == "one":
            assert min(scores) > 10
        else:
            assert np.argmax(scores) == row.generation and sum(score > 8 for score in scores) == 1
        probes = np.load(store / row.artifacts["probes"], allow_pickle=False)
        assert pixel_pattern.scores(mark, of.key(row.generation), probes).mean() > 8
    assert all(given.mark is None for given in stand_in.samplings)


def test_the_initial_noise_is_marked_with_the_key_of_its_generation(play):
    mark = c.checked(NoiseConfig(keys="per_generation", key=5))
    _, stand_in = play(watermark=mark)
    noise = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for generation, given in enumerate(stand_in.samplings):
        key = watermarks.resolve(mark).key(generation)
        assert (initial_noise.scores(mark, key, None, given.mark(noise).numpy()) == 1).all()


@pytest.mark.parametrize("last", [1, 2, None])
def test_the_sampler_of_each_generation_looked_for_is_inverted_with_its_own_model(play, monkeypatch, last):
    calls: list[tuple[Path, int]] = []

    def invert(config: Any, model: Path, items: Any, **others: Any) -> np.ndarray:
        calls.append((model, len(items)))
        return np.random.default_rng(len(calls)).standard_normal((len(items), 3, 8, 8)).astype(np.float32)

    monkeypatch.setattr(generators, "invert", invert)
    rule = c.checked(VetConfig(false_positive_rate=0.2, num_calibration=4, num_generations=last))
    chain, _ = play(watermark=c.checked(NoiseConfig()), vetting=rule, data=with_reserve(4),
                    mixing=c.BlendConfig(synthetic_ratio=0.5))  # fmt: skip
    models = [Path(row.store_dir) / row.artifacts["model"] for row in chain.rows]
    expected = []
    for generation in range(1, 4):
        looked_for = models[max(0, generation - (last or generation)) : generation]
        expected += [(model, n) for n in (4, 20) for model in looked_for]
    assert calls == expected


@pytest.mark.parametrize("keys", ["one", "per_generation"])
def test_marked_samples_are_dropped_and_real_images_stay(play, keys):
    mark = c.checked(PatternConfig(strength=60, keys=keys))
    rule = c.checked(VetConfig(false_positive_rate=0.05, num_calibration=40))
    chain, _ = play(watermark=mark, vetting=rule, data=with_reserve(40), mixing=c.BlendConfig(synthetic_ratio=0.5))
    for row in chain.rows[1:]:
        said = row.vetting
        assert said["true_positive_rate"] == 1 and said["auroc"] == 1 and said["false_positive_rate"] <= 0.2
        assert said["effective_ratio"] == 0
    assert chain.rows[0].vetting["num_kept"] == 20
    assert audit.main([str(chain.directory)]) == 0


def test_the_threshold_comes_from_the_end_of_the_reserve(play):
    rule = c.checked(VetConfig(false_positive_rate=0.2, num_calibration=4))
    mark = c.checked(PatternConfig())
    chain, _ = play(watermark=mark, vetting=rule, data=with_reserve(10), mixing=c.BlendConfig(synthetic_ratio=0.5))
    row = chain.rows[1]
    reserve = Pool.load(Path(row.store_dir) / row.artifacts["real"] / "reserve")
    scores = pixel_pattern.scores(mark, watermarks.resolve(mark).key(0), reserve.items[6:])
    assert row.vetting["threshold"] == threshold_at(scores, 0.2)


def test_fresh_images_are_never_those_of_the_calibration(play):
    chain, _ = play(watermark=c.checked(PatternConfig()), vetting=KEEN, data=with_reserve(34),
                    mixing=c.FreshConfig(synthetic_ratio=0.5))  # fmt: skip
    for row in chain.rows[1:]:
        folder = Path(row.store_dir) / row.artifacts["real"] / "reserve"
        drawn = Composition.load(Path(row.store_dir) / row.artifacts["vet"] / "drawn")
        fresh = [part.rows for part in drawn.parts if part.pool.id == Pool.load(folder).id]
        assert len(fresh) == 1 and fresh[0].max() < 30
    assert audit.main([str(chain.directory)]) == 0
    with pytest.raises(Exception, match="reserve"):
        play(name="less", watermark=c.checked(PatternConfig()), vetting=KEEN, data=with_reserve(33),
             mixing=c.FreshConfig(synthetic_ratio=0.5))  # fmt: skip


# refusals


def refused(tmp_path: Path, **changes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        preflight.check(small(tmp_path, **changes))
    return error.value


@pytest.mark.parametrize(
    ("sampling", "named"),
    [
        ({"sampler": "ddpm"}, "'ddpm': watermark=initial_noise inverts the sampler, which must be deterministic"),
        ({"sampler": "sde-dpmsolver++"}, "ddim with eta=0 or dpmsolver"),
        ({"sampler": "ddim", "eta": 0.5}, "'ddim with eta=0.5'"),
        ({"temperature": 0.0}, "marks the noise, of which there is none"),
    ],
)
def test_a_sampler_without_a_way_back_is_refused(tmp_path, sampling, named):
    generator = small(tmp_path).generator
    changed = {**vars(generator), "sampling": c.SamplingConfig(**{"num_steps": 2, **sampling})}
    error = refused(tmp_path, watermark=c.checked(NoiseConfig()), generator=c.checked(c.DDPMConfig(**changed)))
    assert named in str(error)


def test_a_generator_without_an_inverse_is_refused(tmp_path):
    error = refused(tmp_path, watermark=c.checked(NoiseConfig()), generator=c.checked(VAEConfig(channels=[])))
    assert "this generator has no inverse" in str(error)
    preflight.check(small(tmp_path, watermark=c.checked(PatternConfig()), generator=c.checked(VAEConfig(channels=[]))))


def test_only_images_carry_a_mark(tmp_path):
    with pytest.raises(ConfigError, match="marks images, but the data are points"):
        provenance.check(small(tmp_path, watermark=c.checked(PatternConfig())), "points")


def test_a_vetting_without_a_mark_to_look_for_is_refused(tmp_path):
    error = refused(
        tmp_path, vetting=c.checked(VetConfig(false_positive_rate=0.2, num_calibration=4)), data=with_reserve(4)
    )
    assert error.key == "watermark.name" and "choose watermark=" in str(error)


def test_a_reserve_too_small_to_calibrate_on_is_refused(tmp_path):
    error = refused(tmp_path, watermark=c.checked(PatternConfig()), vetting=KEEN, data=with_reserve(3))
    assert error.key == "vetting.num_calibration" and "data.num_reserve=4 draws them" in str(error)


def test_without_a_watermark_the_spec_of_a_sampling_is_as_before(play, tmp_path):
    chain, _ = play()
    manifests = [path.read_text() for path in (tmp_path / "store" / "sample").rglob("manifest.json")]
    assert len(manifests) == 4 and not any("watermark" in text for text in manifests)
    assert chain.rows[0].code.get("watermark") is None
    half = c.CustomVettingConfig(function="test_vetting_and_selection:half")
    assert vetting.num_calibration(vetting.resolve(half)) == 0
