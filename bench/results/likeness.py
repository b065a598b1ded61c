"""Compare a run with its reference: the same bytes, the same within the spread of seeds, or different.

Samples are compared by checksum. If these differ (another kind of processor, other seeds), the main scores of each
condition and generation are compared by Student's t test of two samples with a common variance. z is its statistic, the
difference of the means in standard errors. The run is different if the smallest p times the number of comparisons
(Bonferroni) is below `ALPHA`. By chance that happens to at most one run in a hundred, however many scores it has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.conditions import Condition
from bench.analysis.measures import MAIN_METRICS, Measure
from bench.analysis.study import Study, studies
from bench.analysis.uncertainty import summarise
from bench.ledger import Chain, Row, score_key
from bench.results.result_file import DIGITS

ALPHA = 0.01
SAME, WITHIN, DIFFERENT, UNKNOWN = "same bytes", "same within spread", "different", "not known"


@dataclass(frozen=True)
class Compared:
    """One score of one condition and generation, as means over the seeds of the run and of the reference.

    z: Difference in standard errors, with a two-sided p. Both are None if neither side varies or both have one seed.
    """

    condition: Condition
    generation: int
    measure: Measure
    run: float
    reference: float
    z: float | None
    p: float | None


@dataclass(frozen=True)
class Likeness:
    """The result of comparing a run with its reference.

    outcome: SAME, WITHIN, DIFFERENT, or UNKNOWN if nothing can be judged.
    same: Ids of the chains whose samples equal those of the reference in all generations.
    other: Ids of the chains whose samples differ.
    alone: Ids of the chains that the reference lacks.
    tampered: A sentence for each score that differs although its samples do not.
    compared: The comparisons of the main scores.
    """

    outcome: str
    same: list[str]
    other: list[str]
    alone: list[str]
    tampered: list[str]
    compared: list[Compared]


def liken(run: Sequence[Chain], reference: Sequence[Chain]) -> Likeness:
    """Compare the chains of a run with those of the reference of the same study."""
    same, other, alone, tampered, compared = [], [], [], [], []
    by_setting = {study.hash: study for study in studies(reference)}
    for study in studies(run):
        counterpart = by_setting.get(study.hash)
        if counterpart is not None:
            compared += list(main_scores(study, counterpart))
        for condition, by_seed in study.chains.items():
            for seed, chain in by_seed.items():
                known = counterpart.chains.get(condition, {}).get(seed) if counterpart else None
                if known is None:
                    alone.append(chain.id)
                elif same_samples(chain, known):
                    same.append(chain.id)
                    tampered += differing_scores(chain, known)
                else:
                    other.append(chain.id)
    return Likeness(_outcome(same, other, tampered, compared), same, other, alone, tampered, compared)


def _outcome(same: list[str], other: list[str], tampered: list[str], compared: list[Compared]) -> str:
    if tampered or different(compared):
        return DIFFERENT
    if same and not other:
        return SAME
    return WITHIN if any(one.p is not None for one in compared) else UNKNOWN


def different(compared: Sequence[Compared]) -> list[Compared]:
    """Return the scores that differ beyond chance, the most different first."""
    judged = sorted((one for one in compared if one.p is not None), key=lambda one: one.p or 0.0)
    return [one for one in judged if (one.p or 0.0) * len(judged) < ALPHA]


def same_samples(chain: Chain, known: Chain) -> bool:
    """Return whether the samples of two chains have equal checksums in all generations that either of them has."""
    return bool(_samples(chain)) and _samples(chain) == _samples(known)


def _samples(chain: Chain) -> dict[int, tuple[str | None, ...]]:
    hashed = {row.generation: tuple(row.checksums.get(stage) for stage in ("sample", "select")) for row in chain.rows}
    return hashed if all(any(pair) for pair in hashed.values()) else {}


def differing_scores(chain: Chain, known: Chain) -> list[str]:
    """Return a sentence for each score of a chain that is not `equal` to that of the other chain."""
    return [
        f"{chain.id}, generation {row.generation}: {name} is {value:g}, but {reference[name]:g} in the reference, "
        "although the samples are the same"
        for row, other in zip(chain.rows, known.rows, strict=False)
        for reference in (_scores(other),)
        for name, value in _scores(row).items()
        if name in reference and not equal(value, reference[name])
    ]


def equal(value: float, other: float) -> bool:
    """Return whether two scores agree to a relative tolerance of 10^(2 − `DIGITS`) or an absolute one of 1e-9."""
    return math.isclose(value, other, rel_tol=10 ** (2 - DIGITS), abs_tol=1e-9)


def _scores(row: Row) -> dict[str, float]:
    return {score_key(score): score["value"] for score in row.scores}


def main_scores(run: Study, reference: Study) -> Iterator[Compared]:
    """Yield the main scores against held-out items, for every condition and generation that both studies have."""
    for condition in run.conditions:
        for metric in MAIN_METRICS:
            for measure in run.measures(metric):
                for generation in run.generations:
                    ours = run.values(condition, generation, measure)
                    theirs = reference.values(condition, generation, measure)
                    if measure.reference == "heldout" and ours and theirs:
                        yield compare(condition, generation, measure, ours, theirs)


def compare(
    condition: Condition, generation: int, measure: Measure, ours: Mapping[int, float], theirs: Mapping[int, float]
) -> Compared:
    """Return the comparison of one score with the reference. ours, theirs: Seed -> value."""
    a, b = summarise(list(ours.values())), summarise(list(theirs.values()))
    degrees = a.n + b.n - 2
    squares = sum((s.n - 1) * s.sd**2 for s in (a, b) if s.sd is not None)
    z = p = None
    if degrees and squares > 0:
        from scipy import stats  # as in bench.analysis.uncertainty

        z = (a.mean - b.mean) / math.sqrt(squares / degrees * (1 / a.n + 1 / b.n))
        p = float(2 * stats.t.sf(abs(z), degrees))
    return Compared(condition, generation, measure, a.mean, b.mean, z, p)
