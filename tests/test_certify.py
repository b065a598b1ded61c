"""The certificate passes, its theory agrees with the formulas of the papers, and an error in any part makes it fail."""

import math

import numpy as np
import pytest

from bench import registry
from bench.certify import __main__ as certify
from bench.certify import categories, chains, regression, theory
from bench.composition import Composition
from bench.datasets import points
from bench.datasets.shared.split import Split
from bench.generators import gaussian
from bench.metrics.shared import frechet_distance
from bench.mixing import accumulate, accumulate_subsample, blend, fresh, replace, window

G = 6


# ------------------------------------------------------------------------------------------------------------- theory


def plan_of(name: str, m: int, monkeypatch) -> theory.Plan:
    monkeypatch.setattr(chains, "NUM_POINTS", m)
    return chains.LOOPS[name].plan


@pytest.mark.parametrize("m", [5, 20])
def test_the_moments_are_those_of_the_closed_forms(m, monkeypatch):
    fits = range(1, G + 1)
    means, variances = theory.moments(plan_of("replace", m, monkeypatch), G, True, 4.0)
    np.testing.assert_allclose(variances, 4)
    np.testing.assert_allclose(means, [n * 4 / m for n in fits])
    means, variances = theory.moments(plan_of("replace", m, monkeypatch), G, False, 4.0)
    np.testing.assert_allclose(variances, [theory.replace_variance(m, n, 4.0) for n in fits])
    np.testing.assert_allclose(means + variances, 4)
    means, variances = theory.moments(plan_of("accumulate", m, monkeypatch), G, False, 4.0)
    np.testing.assert_allclose(variances, [theory.accumulate_variance(m, n, 4.0) for n in fits])
    np.testing.assert_allclose(means + variances, 4)


def test_the_moments_reach_the_limits_for_many_points(monkeypatch):
    m = 1_000_000
    means, _ = theory.moments(plan_of("accumulate", m, monkeypatch), 5, True, 1.0)
    np.testing.assert_allclose(m * means, [theory.accumulate_mean(n) for n in range(1, 6)], rtol=1e-5)
    assert m * means[4] == pytest.approx(1.4636, abs=1e-4)
    for name, ratio, limit in (("fresh .5", 0.5, 1.3333), ("fresh .9", 0.9, 5.2632)):
        means, _ = theory.moments(plan_of(name, m, monkeypatch), 60, True, 1.0)
        assert m * means[-1] == pytest.approx(theory.fresh_mean(ratio), rel=1e-4) == pytest.approx(limit, rel=1e-4)


def test_the_distance_and_the_loss_begin_where_one_fit_is_known():
    assert theory.deviation_factor(2) == pytest.approx(math.sqrt(2 / math.pi))
    assert theory.deviation_factor(10) == pytest.approx(0.9727, abs=1e-4)  # as in tables of control charts
    rng = np.random.default_rng(0)
    fits = rng.normal(0, 2, (200_000, 20))
    mean, variance = fits.mean(axis=1), fits.var(axis=1, ddof=1)
    distance = mean**2 + (np.sqrt(variance) - 2) ** 2
    loss = 0.5 * (np.log(2 * np.pi * variance) + (4 + mean**2) / variance)
    for seen, exact in ((distance, theory.replace_distance(20, 1, 4.0)), (loss, theory.replace_risk(20, 1, 4.0))):
        assert abs(seen.mean() - exact) < 4 * seen.std() / len(seen) ** 0.5


def test_the_diversity_of_categories_is_the_variance_of_their_indicators():
    """The indicator of a category is a number with variance p(1 − p), and its maximum-likelihood variance p̂(1 − p̂)."""
    for n in range(1, G):
        assert theory.category_diversity(20, n, 0.7, False) == pytest.approx(theory.replace_variance(20, n, 0.7))
        assert theory.category_diversity(20, n, 0.7, True) == pytest.approx(theory.accumulate_variance(20, n, 0.7))


def test_counts_of_a_category_end_as_population_genetics_says():
    for share in (0.05, 0.4):
        once = theory.category_counts(20, 1, share)
        assert once[0] == pytest.approx((1 - share) ** 20) and once.sum() == pytest.approx(1)
        assert theory.category_counts(20, 7, share) @ np.arange(21) == pytest.approx(20 * share)
        late = theory.category_counts(4, 60, share)
        assert (late[-1], late[0]) == pytest.approx((share, 1 - share), abs=1e-6)


def test_the_risk_of_a_regression_is_that_of_simulated_ones():
    rng = np.random.default_rng(0)
    away = np.zeros((20_000, 4))
    for n in range(1, 4):
        x = rng.standard_normal((len(away), 20, 4))
        y = np.einsum("ijk,ik->ij", x, away) + rng.standard_normal(x.shape[:2])
        away = np.linalg.solve(np.swapaxes(x, 1, 2) @ x, np.einsum("ijk,ij->ik", x, y)[..., None])[..., 0]
        risk = (away**2).sum(axis=1)
        assert abs(risk.mean() - theory.regression_risk(20, 4, n)) < 4 * risk.std() / len(risk) ** 0.5
    assert theory.regression_bound(20, 4, 2) == pytest.approx(1.25 * theory.regression_risk(20, 4, 1))


# -------------------------------------------------------------------------------------------------------- certificate


def test_every_policy_of_the_benchmark_has_a_loop():
    assert {loop.policy for loop in chains.LOOPS.values()} == set(registry.names("bench.mixing"))


@pytest.mark.slow
def test_the_short_form_passes(capsys):
    assert certify.main(["--short"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if "OFF" in line] and ", 0 off" in lines[-1] and ": 0 differences" in lines[-1]
    assert {line[:21].strip() for line in lines[3:-2]} == set(chains.LOOPS)


def test_a_loop_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit) as error:
        certify.main(["--loops", "replce"])
    assert error.value.code == 2 and "'replce' is none of: replace;" in capsys.readouterr().err


@pytest.fixture
def few_scores(monkeypatch):
    """A quarter of the chains of the short form, for errors that are large."""
    monkeypatch.setattr(certify, "SCORED", 1)


def off(capsys, *loops: str) -> set[tuple[str, str]]:
    """Run some loops of the short form, which must fail; return the (loop, quantity) that are off."""
    assert certify.main(["--short", "--loops", *loops]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("OFF")]
    return {(line[:21].strip(), line[22:48].strip()) for line in lines}


POLICY_ERRORS = {
    "replace from the first generation": (
        replace, "replace", lambda h, num_images: Composition((h.draw(h.synthetic[0], h.budget),)),
    ),
    "replace with the real points": (
        replace, "replace", lambda h, num_images: Composition((h.draw(h.real, h.budget),)),
    ),
    "accumulate without the real points": (
        accumulate, "accumulate", lambda h: Composition(tuple(h.draw(p, h.budget, fixed=True) for p in h.synthetic)),
    ),
    "subsample of the last generation": (
        accumulate_subsample, "accumulate_subsample", lambda h: Composition((h.draw(h.synthetic[-1], h.budget),)),
    ),
    "fresh points that are not new": (
        fresh, "fresh .5", lambda h, synthetic_ratio: Composition((h.draw_fresh(10, 0), h.draw(h.synthetic[-1], 10))),
    ),
    "blend of three quarters": (
        blend, "blend .5",
        lambda h, synthetic_ratio, real_part: Composition((h.draw(h.real, 5), h.draw(h.synthetic[-1], 15))),
    ),
    "window without its real share": (
        window, "window 2, .75",
        lambda h, num_generations, synthetic_ratio, real_part: Composition((h.draw(h.synthetic[-1], 20),)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("error", POLICY_ERRORS)
def test_an_error_in_a_policy_is_caught(error, monkeypatch, capsys):
    module, loop, wrong = POLICY_ERRORS[error]
    monkeypatch.setattr(module, "compose", wrong)
    assert off(capsys, loop) & {(loop, "M E(μ̂ − μ)² / σ²"), (loop, "E σ̂² / σ²")}


def test_an_error_in_the_split_is_caught(monkeypatch, capsys, few_scores):
    """Half of the held-out points are trained on."""
    split = points.split

    def overlapping(config: points.Config) -> Split:
        parts = split(config)
        half = len(parts.heldout) // 2
        return Split(np.concatenate([parts.heldout[half:], parts.train[:half]]), parts.train, parts.reserve)

    monkeypatch.setattr(points, "split", overlapping)
    assert ("replace, scores", "FID, floor") in off(capsys, "replace, scores")


def test_an_error_in_a_score_is_caught(monkeypatch, capsys, few_scores):
    """FID forgets the distance between the means."""
    distance = frechet_distance.frechet_distance

    def blind(subject, reference, device="cpu"):
        is_array = isinstance(reference, np.ndarray)
        center = reference.mean(axis=0) if is_array else reference.mean
        return distance(subject - subject.mean(axis=0) + center, reference, device)

    monkeypatch.setattr(frechet_distance, "frechet_distance", blind)
    assert {quantity for _, quantity in off(capsys, "replace, scores")} == {"FID to held-out", "FID, floor"}


def test_an_error_in_the_loop_of_categories_is_caught(monkeypatch, capsys):
    """Every share is smoothed, so that no category is ever lost."""
    load = categories.load
    monkeypatch.setattr(categories, "load", lambda model: 0.7 * load(model) + 0.05)
    loop = "replace, categories"
    assert off(capsys, loop) == {(loop, "E[1 − Σp̂²]"), (loop, "P(rarest lost)")}


def test_an_error_in_the_loops_of_regression_is_caught(monkeypatch, capsys):
    """Replaced points instead of accumulated ones, whose risk has no bound; and samples without noise."""
    monkeypatch.setattr(accumulate, "compose", only_the_last)
    assert off(capsys, "accumulate, regr.") == {("accumulate, regr.", "E‖ŵ − w‖², at most")}
    monkeypatch.setattr(regression, "sample", lambda c, model, seeds, **rest: noiseless(regression.load(model), seeds))
    assert off(capsys, "replace, regression") == {("replace, regression", "E‖ŵ − w‖²")}


def only_the_last(history):
    return Composition((history.draw(history.synthetic[-1], history.budget),))


def noiseless(weights, seeds):
    x = np.stack([np.random.default_rng(seed).standard_normal(len(weights)) for seed in seeds])
    return np.concatenate([x, (x @ weights)[:, None]], axis=1)


def test_an_error_in_the_loss_is_caught(monkeypatch, capsys, few_scores):
    risk = gaussian.risk
    monkeypatch.setattr(gaussian, "risk", lambda *args, **kwargs: {"total": risk(*args, **kwargs)["total"] + 0.2})
    assert off(capsys, "replace, scores") == {
        ("replace, scores", "held-out loss"),
        ("replace, scores", "excess risk"),
    }


def test_an_error_in_the_estimator_is_caught(monkeypatch, capsys):
    fit = gaussian.fit
    wrong = gaussian.Config(estimator="maximum_likelihood")
    monkeypatch.setattr(gaussian, "fit", lambda config, *args, **kwargs: fit(wrong, *args, **kwargs))
    assert ("replace", "E σ̂² / σ²") in off(capsys, "replace")


def test_samples_that_are_wrong_are_caught(monkeypatch, capsys):
    """Noise that is the same for every second item: half as many points as there seem to be."""
    sample = gaussian.sample
    monkeypatch.setattr(gaussian, "sample", lambda c, m, seeds, **rest: sample(c, m, np.repeat(seeds[::2], 2), **rest))
    assert ("replace", "M E(μ̂ − μ)² / σ²") in off(capsys, "replace")
