"""The witness agrees with sound chains of every kind, and names every lie that is planted where stages meet."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_mnist
from _pytest.mark import ParameterSet
from shrunk import TINY, composed

from bench import audit, generators, ledger, loop, seeds, stages
from bench.analysis import uncertainty
from bench.datasets import procedural
from bench.datasets.shared import split
from bench.generators.ddpm import sampling
from bench.generators.shared import steps, unet_sampling
from bench.machine import interrupt
from bench.machine.console import Console
from bench.metrics.shared import nearest_training
from bench.mixing import blend, window
from bench.mixing.shared.history import History
from bench.report.build import write

SMALL = [
    *TINY,
    *("name=chains", "num_generations=4", "num_samples=24", "data.num_reserve=40", "runtime.precision=fp32"),
    "metrics.feature_space=small_space:make",
    "metrics.references=[heldout,real_train,training]",
    "metrics.scores=[frechet,kernel,manifold,diversity,copying,tails]",
    "metrics.num_images=20",
    "generator.training.num_steps=3",
]
CHAINS = {
    "replace": ["mixing=replace", "data.num_calibration=160"],
    "blend": ["mixing=blend", "mixing.synthetic_ratio=0.3", "mixing.real_part=fixed"],
    "blend by schedule, ancestral sampling": [
        *("mixing=blend", "mixing.synthetic_ratio=[0.1,0.3,1.0]"),
        *("generator.sampling.sampler=ddpm", "generator.noise.prediction=v_prediction"),
    ],
    "augment, warm, by epochs": [
        "mixing=augment",
        "mixing.synthetic_per_real=0.4",
        "warm_start=true",
        "retrain_epochs=1",
    ],
    "in two feature spaces": ["metrics.extra_spaces=[efficientnet_lite0]", "metrics.scores=[frechet,kernel,manifold]"],
    "accumulate, warm, by steps": ["mixing=accumulate", "warm_start=true", "retrain_steps=2"],
    "accumulate_subsample, second seed": ["mixing=accumulate_subsample", "seed=1"],
    "real_only by schedule": ["mixing=real_only", "mixing.synthetic_ratio=[0.3,0.7,0.5]"],
    "window, stochastic sampling": [
        *("mixing=window", "mixing.num_generations=2", "mixing.synthetic_ratio=0.6"),
        *("generator.sampling.sampler=sde-dpmsolver++", "generator.sampling.num_steps=3"),
    ],
    "fresh by schedule, min-SNR": [
        *("mixing=fresh", "mixing.synthetic_ratio=[0.9,0.4,0.5]", "generator.noise.min_snr_gamma=5"),
        *("generator.sampling.sampler=ddim", "generator.sampling.eta=0.5", "generator.training.decay=cosine"),
    ],
}

RUN_EVERY_TIME = {
    *("a vetting", "neon", "blend by schedule, ancestral sampling", "augment, warm, by epochs"),
    *("accumulate, warm, by steps", "fresh by schedule, min-SNR"),
    *("score_training_images_as_held_out", "give_every_generation_the_noise_of_the_first"),
    *("start_from_the_first_model", "take_the_oldest_generations", "draw_the_same_rows_in_every_generation"),
    *("swap_the_sides_of_copying", "train_with_another_seed_than_recorded", "hold_out_images_that_are_trained_on"),
}
"""One of each seam, of chains and of lies; the others are slow tests."""

UNCHECKED = {
    "a selection": (["selection=random", "selection.num_candidates=30"], "which samples a selection keeps"),
    "a vetting": (
        ["vetting=custom", "vetting.function=test_vetting_and_selection:half", "mixing.synthetic_ratio=0.5"],
        "what vetting rules drop",
    ),
    "neon": (
        ["remedy=neon", "remedy.num_samples=20", "remedy.num_steps=2", "warm_start=true"],
        "trainings on own samples",
    ),
    "sims": (["remedy=sims", "remedy.num_samples=20", "remedy.num_steps=2"], "trainings on own samples"),
}


def each(names: Iterable[str], *values: tuple[Any, ...]) -> list[ParameterSet]:
    """Return parameters of tests under their names; those that are not run every time are slow."""
    marks = {name: () if name in RUN_EVERY_TIME else pytest.mark.slow for name in names}
    return [
        pytest.param(*value, id=name, marks=mark) for (name, mark), value in zip(marks.items(), values, strict=True)
    ]


def run(out: Path, *overrides: str, small: Iterable[str] = SMALL) -> Path:
    return loop.run_chain(composed(*small, f"output_dir={out}", *overrides), Console(quiet=True))


def deep(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    return audit.main(["--deep", str(folder)]), capsys.readouterr().out


@pytest.mark.parametrize("kind", each(UNCHECKED, *zip(UNCHECKED)))
def test_witness_agrees_with_a_chain_in_all_but_the_rules_of_others(kind: str, tmp_path, capsys):
    overrides, named = UNCHECKED[kind]
    status, said = deep(run(tmp_path, "mixing=blend", *overrides), capsys)
    assert status == 0 and f"NOT CHECKED {named}" in said and said.count("NOT CHECKED") == 1, said


@pytest.mark.parametrize("kind", each(CHAINS, *zip(CHAINS)))
def test_witness_agrees_with_every_kind_of_chain(kind: str, tmp_path_factory, capsys):
    out = tmp_path_factory.getbasetemp() / "witnessed"  # one store: generation 0 is shared where it may be
    directory = run(out, *CHAINS[kind])
    status, said = deep(directory, capsys)
    assert status == 0, said
    assert "NOT CHECKED" not in said
    assert "1 chains, 4 generations audited and derived again: 0 mismatches" in said


IN_PARTS = ["metrics.scores=[frechet,detection]", "num_generations=2", "data.num_heldout=12", "metrics.num_images=12"]


def run_on_digits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    small_mnist.publish(folder, monkeypatch)
    kept = [
        override for override in SMALL if not override.startswith(("data=", "data.num_calibration", "data.num_reserve"))
    ]
    return run(folder, "data=mnist", f"data.root={folder}", *IN_PARTS, small=kept)


def test_witness_knows_published_parts_and_leaves_scores_that_it_does_not_have(tmp_path, capsys, monkeypatch):
    status, said = deep(run_on_digits(tmp_path, monkeypatch), capsys)
    assert status == 0 and said.count("NOT CHECKED") == 1 and "NOT CHECKED detector_auroc" in said, said


def test_witness_notices_held_out_digits_of_the_training_part(tmp_path, capsys, monkeypatch):
    def swapped(test: np.ndarray, train: np.ndarray, num_heldout: int, num_train: int) -> split.Split:
        return split.Split(train[:num_heldout], train[num_heldout : num_heldout + num_train], test)

    monkeypatch.setattr(split, "_of_two_parts", swapped)
    status, said = deep(run_on_digits(tmp_path, monkeypatch), capsys)
    assert status == 1 and "held-out items are of the published training part" in said, said


@pytest.mark.slow
def test_witness_knows_the_split_of_a_text(tmp_path, capsys):
    words = np.random.default_rng(0).integers(100, 400, (900, 8))
    (tmp_path / "book.txt").write_text("\n".join(" ".join(map(str, line)) for line in words))
    config = composed(
        "experiment=language_model", "mixing=replace", "num_generations=2", "num_samples=16", "num_probes=2",
        *("data=text", "data.source=file", f"data.path={tmp_path}/book.txt", "data.block_size=16"),
        *("data.vocab_size=512", "generator.sampling.prompt_size=8"),
        "data.num_train=16", "data.num_heldout=16", "metrics.num_images=16", "metrics.scores=[risk]",
        *("generator.training.num_steps=2", "generator.training.warmup_steps=0", "generator.training.batch_size=8"),
        *("generator.network.hidden_size=16", "runtime.device=cpu", f"output_dir={tmp_path}"),
    )  # fmt: skip
    status, said = deep(loop.run_chain(config, Console(quiet=True)), capsys)
    assert status == 0, said


@pytest.mark.slow
def test_witness_agrees_with_a_chain_that_was_interrupted_in_training(tmp_path, capsys, monkeypatch):
    looks = iter([False, False, True])
    monkeypatch.setattr(interrupt, "requested", lambda: next(looks, False))
    with pytest.raises(interrupt.Interrupted):
        run(tmp_path, "generator.training.num_steps=8", "generator.training.checkpoint_every=2")
    directory = run(tmp_path, "generator.training.num_steps=8", "generator.training.checkpoint_every=2")
    assert ledger.read(directory / ledger.FILENAME)[0].train["resumed_from_step"] > 0
    status, said = deep(directory, capsys)
    assert (status, "NOT CHECKED" in said) == (0, False), said


Lie = Callable[[pytest.MonkeyPatch], None]


def score_training_images_as_held_out(patch: pytest.MonkeyPatch) -> None:
    honest = stages.score

    def score(context: Any, config: Any, samples: Any, real: Any, *rest: Any) -> Any:
        return honest(context, config, samples, dataclasses.replace(real, heldout=real.train), *rest)

    patch.setattr(stages, "score", score)


def score_real_images_in_the_extra_space(patch: pytest.MonkeyPatch) -> None:
    honest = stages.comparisons
    patch.setattr(
        stages, "comparisons", lambda context, config, samples, real: honest(context, config, real.train, real)
    )


def give_every_generation_the_noise_of_the_first(patch: pytest.MonkeyPatch) -> None:
    def derive(run_seed: int, generation: int, stage: str, index: int = 0) -> int:
        return seeds.derive_seed(run_seed, 0 if stage == "sample" else generation, stage, index)

    patch.setattr(stages, "derive_seed", derive)


def store_probes_before_samples(patch: pytest.MonkeyPatch) -> None:
    honest = generators.sample
    patch.setattr(generators, "sample", lambda *a, **k: np.roll(honest(*a, **k), 2, axis=0))


def start_from_the_first_model(patch: pytest.MonkeyPatch) -> None:
    honest, made = stages.train, []

    def train(*arguments: Any, previous: Any) -> Any:
        made.append(honest(*arguments, previous=made[0] if made else None))
        return made[-1]

    patch.setattr(stages, "train", train)


def forget_to_start_from_a_model(patch: pytest.MonkeyPatch) -> None:
    honest = generators.fit
    patch.setattr(generators, "fit", lambda *a, init, **k: honest(*a, init=None, **k))


def take_the_oldest_generations(patch: pytest.MonkeyPatch) -> None:
    honest = window.compose

    def compose(history: History, num_generations: int, **parameters: Any) -> Any:
        oldest = dataclasses.replace(history, synthetic=history.synthetic[:num_generations])
        return honest(oldest, num_generations=num_generations, **parameters)

    patch.setattr(window, "compose", compose)


def truncate_ratios(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blend, "round", math.floor, raising=False)


def draw_the_same_rows_in_every_generation(patch: pytest.MonkeyPatch) -> None:
    honest = History._order
    patch.setattr(History, "_order", lambda self, pool, fixed: honest(self, pool, True))


def invert_the_decay_of_the_average(patch: pytest.MonkeyPatch) -> None:
    honest = steps.ema_decay
    patch.setattr(steps, "ema_decay", lambda *a: 1 - honest(*a))


def train_with_another_seed_than_recorded(patch: pytest.MonkeyPatch) -> None:
    honest = generators.fit
    patch.setattr(generators, "fit", lambda *a, seed, **k: honest(*a, seed=seed + 1, **k))


def use_the_initial_noise_again(patch: pytest.MonkeyPatch) -> None:
    honest = sampling.normal
    patch.setattr(sampling, "normal", lambda seeds, shape, draw: honest(seeds, shape, max(draw - 1, 0)))


def swap_the_sides_of_copying(patch: pytest.MonkeyPatch) -> None:
    honest = nearest_training.copying_scores

    def swapped(*a: Any, **k: Any) -> Any:
        true = honest(*a, **k)
        return dataclasses.replace(true, closer_to_training=1 - true.closer_to_training)

    patch.setattr(nearest_training, "copying_scores", swapped)


def record_facts_of_the_training_as_those_of_sampling(patch: pytest.MonkeyPatch) -> None:
    honest = loop.make_row

    def make_row(*arguments: Any) -> ledger.Row:
        row = honest(*arguments)
        return dataclasses.replace(row, sample=row.train)

    patch.setattr(loop, "make_row", make_row)


def hold_out_images_that_are_trained_on(patch: pytest.MonkeyPatch) -> None:
    honest = procedural.split

    def split(asked: procedural.Config) -> Any:
        true = honest(asked)
        return dataclasses.replace(true, heldout=np.concatenate([true.heldout[:-1], true.train[:1]]))

    patch.setattr(procedural, "split", split)


def extrapolate_the_wrong_way(patch: pytest.MonkeyPatch) -> None:
    honest = generators.combine
    patch.setattr(generators, "combine", lambda c, verb, a, b, weight, out: honest(c, verb, a, b, -weight, out))


def draw_without_guidance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(unet_sampling, "guidance_weight", lambda model: None)


BRIEF = ["remedy.num_samples=20", "remedy.num_steps=9", "remedy.learning_rate_factor=5", "remedy.weight=2"]


LIES: list[tuple[Lie, list[str], str]] = [
    (score_training_images_as_held_out, [], r"not made from features of pool|against heldout is"),
    (
        score_real_images_in_the_extra_space,
        ["metrics.extra_spaces=[efficientnet_lite0]"],
        "not made from features of pool .* in efficientnet_lite0|heldout in efficientnet_lite0 is",
    ),
    (give_every_generation_the_noise_of_the_first, [], "generation 1: its samples have other seeds"),
    (store_probes_before_samples, [], "sample 0 differs from what its seed gives"),
    (start_from_the_first_model, ["warm_start=true"], "generation 2: its training began from"),
    (forget_to_start_from_a_model, ["warm_start=true"], "generation 1: its weights differ from replayed ones"),
    (
        take_the_oldest_generations,
        ["mixing=window", "mixing.num_generations=1"],
        "generation 2: it trained on other images",
    ),
    (truncate_ratios, ["mixing.synthetic_ratio=0.4"], "generation 1: it trained on other images"),
    (draw_the_same_rows_in_every_generation, [], "generation 1: it trained on other images"),
    (invert_the_decay_of_the_average, [], "generation 0: its weights differ from replayed ones"),
    (train_with_another_seed_than_recorded, [], "generation 0: its weights differ from replayed ones"),
    (use_the_initial_noise_again, ["generator.sampling.sampler=ddpm"], "sample 0 differs from what its seed gives"),
    (swap_the_sides_of_copying, [], "closer_to_training of samples against heldout"),
    (record_facts_of_the_training_as_those_of_sampling, [], "facts of sample are not those of its result"),
    (extrapolate_the_wrong_way, ["remedy=neon", *BRIEF], "generation 1: the weights of its remedy differ"),
    (draw_without_guidance, ["remedy=sims", *BRIEF], "sample 0 differs from what its seed gives"),
    (hold_out_images_that_are_trained_on, [], "real images are not split by data.split_seed"),
]


@pytest.mark.parametrize(("lie", "overrides", "named"), each([lie.__name__ for lie, *_ in LIES], *LIES))
def test_witness_names_a_planted_lie(lie, overrides, named, tmp_path, capsys, monkeypatch):
    lie(monkeypatch)
    directory = run(tmp_path, "num_generations=3", "metrics.references=[heldout]", *overrides)
    status, said = deep(directory, capsys)
    assert status == 1
    assert re.search(rf"MISMATCH .*({named})", said), said


@pytest.mark.slow
def test_witness_names_an_interval_that_is_not_student_s(tmp_path, capsys, monkeypatch):
    short = ["num_generations=3", "metrics.references=[heldout]", "metrics.scores=[frechet,manifold]"]
    for seed in (0, 1):
        directory = run(tmp_path, *short, f"seed={seed}")
    assert deep(tmp_path / "chains", capsys)[0] == 0
    write([tmp_path / "chains"], tmp_path / "chains" / "report")
    assert deep(tmp_path / "chains", capsys)[0] == 0
    status, said = deep(directory, capsys)  # one chain of a card of two
    assert (status, "card.json: it also describes chains that were not given" in said) == (0, True), said
    monkeypatch.setattr(uncertainty, "_t", lambda degrees: 1.96)
    status, said = deep(tmp_path / "chains", capsys)
    assert (status, "in the card" in said) == (1, True)
