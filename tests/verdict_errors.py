"""The confusion matrix of the verdict, on simulated chains whose truth is known.

    python tests/verdict_errors.py      # measures it with 1000 studies per cell and writes it into docs/results.md

A chain is the truth times log-normal noise. Noise of generation 0 is shared with the same seed's chain at ratio 0, as
in a study; every later score has noise of its own at both ratios. The size of the effect differs between seeds.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.collapse import BOUNDED, DIVERGING, INCONCLUSIVE, RISING, STABLE, classify, growth

SEEDS = (1, 3, 5, 10)
GENERATIONS = (4, 6, 10, 20)
NOISE = 0.05
"""Standard deviation of log FID when the same data are trained on again: 2 to 7 % in docs/results.md."""
SPREAD = 0.2
"""Standard deviation, over seeds, of the log of the size of the effect."""
WORDS = (STABLE, BOUNDED, RISING, DIVERGING, INCONCLUSIVE)

NUM_STUDIES = 1000
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
BEGIN, END = "<!-- verdict errors -->\n", "<!-- /verdict errors -->\n"

Truth = Callable[[np.ndarray], np.ndarray]
TRUTHS: dict[str, tuple[str, Truth]] = {
    "none": (STABLE, lambda g: 0 * g),
    "accumulate, Σ 1/k²": (BOUNDED, lambda g: np.cumsum(1 / (g + 1) ** 2) - 1),
    "saturating at 40 %": (BOUNDED, lambda g: 0.4 * (1 - np.exp(-g / 1.5))),
    "linear, 10 % a generation": (DIVERGING, lambda g: 0.1 * g),
    "linear, 100 % a generation": (DIVERGING, lambda g: 1.0 * g),
    "exponential, 20 % a generation": (DIVERGING, lambda g: np.exp(0.2 * g) - 1),
}

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "as above": ({}, list(TRUTHS)),
    "against its own generation 0": ({"paired": False}, ["none", "accumulate, Σ 1/k²", "linear, 10 % a generation"]),
    "half of the noise carries over": ({"carry": 0.5}, ["none", "accumulate, Σ 1/k²", "linear, 10 % a generation"]),
}
"""Name -> how the studies differ from the main case, and the truths that are tried."""


def study(
    rng: np.random.Generator, truth: Truth, num_seeds: int, num_generations: int, carry: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return FID (seeds, generations) of a condition and of the same seeds at ratio 0.

    Args:
        rng: source of the noise.
        truth: generation -> expected excess over ratio 0, as a share of it.
        num_seeds: chains per condition.
        num_generations: generation 0 included.
        carry: correlation of the noise of one generation with that of the next.
    """
    noise = rng.standard_normal((2, num_seeds, num_generations))
    noise[1, :, 0] = noise[0, :, 0]
    for g in range(1, num_generations):
        noise[:, :, g] = carry * noise[:, :, g - 1] + np.sqrt(1 - carry**2) * noise[:, :, g]
    size = np.exp(SPREAD * rng.standard_normal((num_seeds, 1)))
    excess = size * truth(np.arange(num_generations, dtype=float))
    curve, reference = 500 * np.exp(NOISE * noise)
    return curve * (1 + excess), reference


def verdicts(
    truth: Truth,
    num_seeds: int,
    num_generations: int,
    num_studies: int,
    paired: bool = True,
    carry: float = 0.0,
) -> dict[str, float]:
    """Return word -> share of simulated studies that are judged so.

    Args:
        truth: generation -> expected excess over ratio 0.
        num_seeds: chains per condition.
        num_generations: generation 0 included.
        num_studies: how many studies are simulated.
        paired: whether the verdict sees the chains at ratio 0.
        carry: correlation of the noise of one generation with that of the next.
    """
    rng = np.random.default_rng([num_seeds, num_generations])
    words: Counter[str] = Counter()
    for _ in range(num_studies):
        curves, reference = study(rng, truth, num_seeds, num_generations, carry)
        words[classify(growth(curves.tolist(), reference.tolist() if paired else None))] += 1
    return {word: words[word] / num_studies for word in WORDS}


Cells = dict[tuple[str, str, int, int], dict[str, float]]
"""(case, truth, seeds, generations) -> word -> share."""


def measure(num_studies: int) -> Cells:
    """Return the whole matrix. It takes a minute and a half for 1000 studies per cell."""
    return {
        (case, name, num_seeds, num_generations): verdicts(
            TRUTHS[name][1], num_seeds, num_generations, num_studies, **options
        )
        for case, (options, names) in CASES.items()
        for name in names
        for num_seeds in SEEDS
        for num_generations in GENERATIONS
    }


def to_markdown(cells: Cells) -> str:
    """Return the matrix as tables, one per case."""
    parts = []
    for case, (_, names) in CASES.items():
        head = [*(f"{g} generations" for g in GENERATIONS)]
        lines = [f"| {case}: truth | seeds | {' | '.join(head)} |", f"|:--|--:|{'--:|' * len(head)}"]
        for name in names:
            for num_seeds in SEEDS:
                shown = [_text(cells[case, name, num_seeds, g], TRUTHS[name][0]) for g in GENERATIONS]
                lines.append(f"| {name} | {num_seeds} | {' | '.join(shown)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _text(shares: dict[str, float], right: str) -> str:
    shown = {word: f"{100 * share:.1f}".removesuffix(".0") for word, share in shares.items()}
    return " · ".join(f"**{text}**" if word == right else text for word, text in shown.items())


def published() -> Cells:
    """Return the matrix in docs/results.md."""
    text = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    cells: Cells = {}
    case = ""
    for line in text.splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if parts[0].endswith(": truth"):
            case = parts[0].removesuffix(": truth")
        elif len(parts) == 2 + len(GENERATIONS) and parts[1].isdigit():
            for num_generations, part in zip(GENERATIONS, parts[2:], strict=True):
                shares = [float(text) / 100 for text in part.replace("*", "").split(" · ")]
                cells[case, parts[0], int(parts[1]), num_generations] = dict(zip(WORDS, shares, strict=True))
    return cells


if __name__ == "__main__":
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + to_markdown(measure(NUM_STUDIES)) + END + rest.split(END)[1], encoding="utf-8")
