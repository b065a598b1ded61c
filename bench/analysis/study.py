"""Studies: chains that may be compared, indexed by condition, generation, seed and measure.

The chains of a study differ only in condition and seed. Numbers are averaged and compared within a study and never
between two.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bench.analysis.conditions import Condition, condition_of, free_keys
from bench.analysis.measures import Measure, measure_of, possible
from bench.analysis.notes import notes_on
from bench.analysis.setting import differing_keys, kind_in, protocol_of, setting_of, shown_setting, title_of
from bench.errors import LedgerError
from bench.flatten import flatten
from bench.kinds import Kind
from bench.ledger import Chain, Row, same_scores

Chains = dict[Condition, dict[int, Chain]]
"""condition -> seed -> chain."""


@dataclass(frozen=True)
class ScoreIndex:
    """Every score of a study, indexed by the keys that it is looked up with.

    values: (condition, generation, measure) -> seed -> score of the samples.
    measures: the measures of the samples, in the order of the ledger.
    baselines: measure -> subject -> score of a subject that no chain generated, as the mean over rows.
    intervals: measure -> ends of the floor's interval over re-splits, if the ledger has it.
    """

    values: dict[tuple[Condition, int, Measure], dict[int, float]]
    measures: list[Measure]
    baselines: dict[Measure, dict[str, float]]
    intervals: dict[Measure, tuple[float, float]]

    @classmethod
    def build(cls, chains: Chains) -> "ScoreIndex":
        """Build the index from all scores of all rows, which are read once."""
        values: dict[tuple[Condition, int, Measure], dict[int, float]] = {}
        measures: dict[Measure, None] = {}
        others: dict[Measure, dict[str, list[float]]] = {}
        intervals: dict[Measure, tuple[float, float]] = {}
        for condition, by_seed in chains.items():
            for seed, row in ((seed, row) for seed, chain in by_seed.items() for row in chain.rows):
                for score in row.scores:
                    measure = measure_of(score)
                    if score["subject"] == "samples":
                        measures[measure] = None
                        values.setdefault((condition, row.generation, measure), {})[seed] = score["value"]
                    else:
                        by_subject = others.setdefault(measure, {})
                        by_subject.setdefault(score["subject"], []).append(score["value"])
                        if score["subject"] == "real_train" and "resplit_low" in score:
                            intervals[measure] = (score["resplit_low"], score["resplit_high"])
        baselines = {
            measure: {subject: sum(numbers) / len(numbers) for subject, numbers in by_subject.items()}
            for measure, by_subject in others.items()
        }
        return cls(values, list(measures), baselines, intervals)


@dataclass(frozen=True, eq=False)
class Study:
    """Chains that may be compared.

    protocol: name and version, or `no protocol`.
    hash: a short hash of the setting that all chains share.
    chains: condition -> seed -> chain; conditions are ordered by policy and ratio.
    notes: what a reader must know about the chains.
    rows, generations, seeds: the rows, generations and seeds of all chains.
    scores: the index that `values`, `measures` and `baselines` look into.
    """

    title: str
    protocol: str
    hash: str
    chains: Chains
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(init=False, repr=False)
    generations: list[int] = field(init=False)
    seeds: list[int] = field(init=False)
    scores: ScoreIndex = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = [row for by_seed in self.chains.values() for chain in by_seed.values() for row in chain.rows]
        derived = {
            "rows": rows,
            "generations": sorted({row.generation for row in rows}),
            "seeds": sorted({seed for by_seed in self.chains.values() for seed in by_seed}),
            "scores": ScoreIndex.build(self.chains),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    @property
    def conditions(self) -> list[Condition]:
        return list(self.chains)

    @cached_property
    def full_setting(self) -> dict[str, Any]:
        """What all chains share, as titles show it, with the values that equal their default."""
        return shown_setting(self.rows[0], with_defaults=True)

    @property
    def by_ratio(self) -> bool:
        """Whether the ratio alone distinguishes the conditions: one policy, with equal parameters otherwise.

        Plain replacement counts as blending at a ratio of 1.
        """
        ratios = [c.ratio for c in self.chains]
        families = {c.family for c in self.chains}
        if {policy for policy, _ in families} == {"blend", "replace"}:
            families.discard(("replace", "{}"))
        return len(families) == 1 and None not in ratios and len(set(ratios)) == len(ratios)

    @property
    def kind(self) -> Kind:
        """The kind of the study's items, which decides how they are shown and what they are called."""
        return kind_in(self.rows[0])

    @property
    def axis(self) -> str:
        """The name of the axis along which the conditions' labels lie."""
        return "synthetic ratio" if self.by_ratio else "condition" if free_keys(self.rows[0]) else "mixing policy"

    def last_of(self, condition: Condition) -> int:
        """Return the last generation that every seed of a condition has."""
        return min(chain.rows[-1].generation for chain in self.chains[condition].values())

    @property
    def last_common(self) -> int:
        """The last generation that every chain has."""
        return min(self.last_of(condition) for condition in self.chains)

    def longest(self, condition: Condition) -> Chain:
        """Return a condition's chain with the most generations; among equals, the one with the lowest seed."""
        return max(self.chains[condition].values(), key=lambda chain: len(chain.rows))

    def measures(self, metric: str | None = None) -> list[Measure]:
        """Return the measures that some samples have, or those of one metric, in the order of the ledger."""
        return [m for m in self.scores.measures if metric in (None, m.metric)]

    def primary(self, metric: str) -> Measure | None:
        """Return the measure that verdicts and overviews use: against held-out images if there is one, else the first.

        None if the metric was not computed.
        """
        measures = self.measures(metric)
        return next((m for m in measures if m.reference == "heldout"), measures[0] if measures else None)

    def total(self, metric: str) -> Measure | None:
        """Return a metric's measure against held-out images that is not of one part, such as a noise level; or None."""
        measures = (m for m in self.measures(metric) if m.reference == "heldout")
        return next((m for m in measures if "part" not in json.loads(m.parameters)), None)

    def values(self, condition: Condition, generation: int, measure: Measure) -> dict[int, float]:
        """Return seed -> value, for the seeds that have this score."""
        return dict(self.scores.values.get((condition, generation, measure), {}))

    def baselines(self, measure: Measure) -> dict[str, float]:
        """Return subject -> the same score of a subject that no chain generated, as the mean over rows.

        Subjects are real images (the floor), and samples and reference shuffled together. The floor is equal in all
        rows; the shuffled control hardly differs between them.
        """
        return dict(self.scores.baselines.get(measure, {}))

    def dimension(self, measure: Measure) -> int | None:
        """Return the number of features that a score was computed from, or None if its rows do not state it."""
        rows = (row for by_seed in self.chains.values() for chain in by_seed.values() for row in chain.rows)
        scores = (score for row in rows for score in row.scores if "dimension" in score)
        return next((score["dimension"] for score in scores if measure_of(score) == measure), None)

    def floor(self, measure: Measure) -> float | None:
        """Return the same score of real training images, which a perfect generator would reach in expectation.

        None if it was not computed.
        """
        return self.baselines(measure).get("real_train")

    def floor_interval(self, measure: Measure) -> tuple[float, float] | None:
        """Return the interval of 95 % of the floors of other splits of the same real items, or None if not known. It is
        a t interval in the ledger, so it is cut at the values that the score can have."""
        if measure not in self.scores.intervals:
            return None
        least, most = possible(measure.metric)
        low, high = self.scores.intervals[measure]
        return max(low, least), min(high, most)


def studies(chains: Iterable[Chain]) -> list[Study]:
    """Group chains by everything except condition and seed.

    Chains that differ only in which scores they have belong to one study, whose notes say so. Of two chains of one
    condition and seed that have the same scores, the more complete one is shown, with a note.

    Raises:
        LedgerError: two chains have the same condition and seed, but different scores.
    """
    groups: dict[str, list[Chain]] = {}
    for chain in chains:
        groups.setdefault(setting_of(chain.rows[0]), []).append(chain)
    differing = differing_keys([shown_setting(members[0].rows[0]) for members in groups.values()])
    result = []
    for setting, members in groups.items():
        by_condition = _by_condition(members)
        title = title_of(members, shown_setting(members[0].rows[0], with_defaults=True), differing)
        digest = hashlib.sha256(setting.encode()).hexdigest()[:8]
        result.append(Study(title, protocol_of(members[0].rows[0]), digest, by_condition, notes_on(by_condition)))
    return sorted(result, key=lambda study: _in_order(study.title))


def _by_condition(chains: list[Chain]) -> Chains:
    by_condition: Chains = {}
    configs = [flatten(chain.rows[0].config) for chain in chains]
    varying = [k for k in free_keys(chains[0].rows[0]) if len({json.dumps(config.get(k)) for config in configs}) > 1]
    for chain in chains:
        seed = chain.rows[0].seed
        by_seed = by_condition.setdefault(condition_of(chain.rows[0], varying), {})
        by_seed[seed] = _one_of(by_seed[seed], chain) if seed in by_seed else chain
    ordered = sorted(by_condition, key=lambda c: (c.policy, 2.0 if c.ratio is None else c.ratio, _in_order(c.label)))
    return {condition: dict(sorted(by_condition[condition].items())) for condition in ordered}


def _in_order(label: str) -> list[tuple[float, str]]:
    """Return a key that sorts labels and titles by the numbers in them: `num_train=256` before `num_train=1024`."""
    return [(float(part), "") if i % 2 else (-1.0, part) for i, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", label))]


def _one_of(first: Chain, second: Chain) -> Chain:
    """Return the more complete of two chains of one condition and seed, with a note on the other. Raises `LedgerError`
    if their scores differ."""
    differing = ", ".join(_differences(first, second)) or "nothing that is recorded"
    if not same_scores(first, second):
        raise LedgerError(
            f"chains {first.id} and {second.id} have the same policy and seed, but different scores: give only one of "
            f"the two. They differ in {differing}"
        )
    kept, other = sorted((first, second), key=lambda c: (-len(c.rows), -len(c.rows[-1].scores), c.id))
    note = f"{other.id} has the scores of {kept.id} and is counted once; they differ in {differing}"
    return replace(kept, notes=[*kept.notes, note])


def _differences(first: Chain, second: Chain, most: int = 6) -> list[str]:
    """Return the differences of two chains in configuration, software and hardware, as `key (one / other)`."""
    left, right = (
        {"sweep": row.sweep, **flatten(row.config), **flatten({**row.environment, "code": row.code})}
        for row in (first.rows[-1], second.rows[-1])
    )
    keys = [key for key in sorted(left.keys() | right.keys()) if left.get(key) != right.get(key) and key != "command"]
    shown = [f"{key} ({left.get(key)} / {right.get(key)})" for key in keys[:most]]
    return [*shown, *([f"{len(keys) - most} more"] if len(keys) > most else [])]


def relatives(study: Study, every: Iterable[Study], key: str, free: tuple[str, ...] = ()) -> dict[Any, Study]:
    """Return value of `key`, ascending -> the study, for a study and those that differ from it in nothing else.

    The hash of the data may differ as well, because it follows from the key. If two of the studies have the same value,
    they differ in the data itself or in `free`, and only the given study is returned.

    Args:
        study: the study whose relatives are wanted.
        every: the studies to search.
        key: a dotted key of the configuration, e.g. `data.split_seed`.
        free: further keys in which they may differ.
    """
    excluded = ("data.content", key, *free)

    def rest(one: Study) -> dict[str, Any]:
        return {k: v for k, v in one.full_setting.items() if k not in excluded}

    alike = [study, *(one for one in every if one is not study and rest(one) == rest(study))]
    found = {one.full_setting.get(key): one for one in alike}
    if len(found) < len(alike):
        return {study.full_setting.get(key): study}
    return {v: found[v] for v in sorted(found, key=lambda v: (v is None, v))}
