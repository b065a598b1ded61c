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
from bench.kinds import POINTS
from bench.ledger import Chain, Row, score_key
from bench.results.result_file import DIGITS

ALPHA = 0.01
DISTANCES = ("fid", "kid")
"""Scores of which two sets of images or texts hardly ever have all digits in common."""
FEWEST_REPEATED = 2
"""One such score in a chain may be equal by chance, two are not."""
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
    same: Ids of the chains whose samples equal those of the reference in all generations that both have.
    other: The chains whose samples differ, each with its counterpart in the reference.
    alone: Ids of the chains that the reference lacks.
    contradictions: Id of a chain -> a sentence for each score that differs although its samples do not, and for each
        that does not differ although its samples do.
    compared: The comparisons of the main scores.
    """

    outcome: str
    same: list[str]
    other: list[tuple[Chain, Chain]]
    alone: list[str]
    contradictions: dict[str, list[str]]
    compared: list[Compared]


def liken(run: Sequence[Chain], reference: Sequence[Chain]) -> Likeness:
    """Compare the chains of a run with those of the reference of the same study."""
    same, other, alone, compared = [], [], [], []
    contradictions: dict[str, list[str]] = {}
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
                    continue
                if same_samples(chain, known):
                    same.append(chain.id)
                else:
                    other.append((chain, known))
                repeated = repeated_scores(chain, known)
                if found := [*differing_scores(chain, known), *(repeated if len(repeated) >= FEWEST_REPEATED else [])]:
                    contradictions[chain.id] = found
    outcome = _outcome(same, other, contradictions, compared)
    return Likeness(outcome, same, other, alone, contradictions, compared)


def _outcome(same: list[str], other: Sequence[object], contradictions: object, compared: list[Compared]) -> str:
    if contradictions or different(compared):
        return DIFFERENT
    if same and not other:
        return SAME
    return WITHIN if any(one.p is not None for one in compared) else UNKNOWN


def different(compared: Sequence[Compared]) -> list[Compared]:
    """Return the scores that differ beyond chance, the most different first."""
    judged = sorted((one for one in compared if one.p is not None), key=lambda one: one.p or 0.0)
    return [one for one in judged if (one.p or 0.0) * len(judged) < ALPHA]


def same_samples(chain: Chain, known: Chain) -> bool:
    """Return whether the samples of two chains have equal checksums in all generations that both have."""
    ours, theirs = _samples(chain), _samples(known)
    common = ours.keys() & theirs.keys()
    return bool(common) and all(ours[generation] == theirs[generation] for generation in common)


def _samples(chain: Chain) -> dict[int, tuple[str | None, ...]]:
    hashed = {row.generation: tuple(row.checksums.get(stage) for stage in ("sample", "select")) for row in chain.rows}
    return hashed if all(any(pair) for pair in hashed.values()) else {}


def differing_scores(chain: Chain, known: Chain) -> list[str]:
    """Return a sentence for each score that is not `equal` in two chains, in generations of equal samples."""
    return [
        f"{chain.id}, generation {row.generation}: {name} is {value:g}, but {reference[name]:g} in the reference, "
        "although the samples are the same"
        for row, reference in _rows_where(chain, known, samples_are_equal=True)
        for name, value in _scores(row).items()
        if name in reference and not equal(value, reference[name])
    ]


def repeated_scores(chain: Chain, known: Chain) -> list[str]:
    """Return a sentence for each of the `DISTANCES` of the samples that has the same digits in two chains, in
    generations of different samples. There is none of points, which may differ in their last bits alone."""
    if chain.rows[0].environment.get("data_kind") == POINTS.name:
        return []
    return [
        f"{chain.id}, generation {row.generation}: {score_key(score)} is {score['value']:g}, as in the reference, "
        "although the samples are not the same"
        for row, reference in _rows_where(chain, known, samples_are_equal=False)
        for score in row.scores
        if score["metric"] in DISTANCES and score["subject"] == "samples" and score["value"]
        if math.isclose(score["value"], reference.get(score_key(score), math.nan), rel_tol=10 ** (1 - DIGITS))
    ]


def _rows_where(chain: Chain, known: Chain, samples_are_equal: bool) -> Iterator[tuple[Row, dict[str, float]]]:
    """Yield each row of `chain` with the scores of the same generation of `known`, if their samples are (not) equal."""
    ours, theirs = _samples(chain), _samples(known)
    by_generation = {row.generation: row for row in known.rows}
    for row in chain.rows:
        generation = row.generation
        if (
            generation in ours
            and generation in theirs
            and (ours[generation] == theirs[generation]) == samples_are_equal
        ):
            yield row, _scores(by_generation[generation])


def equal(value: float, other: float) -> bool:
    """Return whether two scores agree to a relative tolerance of 10^(2 − `DIGITS`) or an absolute one of 1e-9."""
    return math.isclose(value, other, rel_tol=10 ** (2 - DIGITS), abs_tol=1e-9)


def _scores(row: Row) -> dict[str, float]:
    return {score_key(score): score["value"] for score in row.scores}


def main_scores(run: Study, reference: Study) -> Iterator[Compared]:
    """Yield the main scores against held-out items, for every condition and generation that both studies have. A
    condition whose samples are all those of the reference is compared with the same seeds, else with all seeds."""
    for condition in run.conditions:
        known = reference.chains.get(condition, {})
        own = run.chains[condition]
        is_same = all(seed in known and same_samples(chain, known[seed]) for seed, chain in own.items())
        for metric in MAIN_METRICS:
            for measure in run.measures(metric):
                for generation in run.generations:
                    ours = run.values(condition, generation, measure)
                    theirs = reference.values(condition, generation, measure)
                    theirs = {seed: value for seed, value in theirs.items() if seed in own or not is_same}
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
