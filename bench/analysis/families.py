"""Families of generators side by side: one row per condition and family, and what may be compared across families.

A number is compared between two families only if it means the same in both. Everything else is compared as a change
against the family's own ratio 0, which is what the verdict and the collapse profile state.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis import collapse
from bench.analysis.collapse import Interval
from bench.analysis.collapse_profile import ANY, MEANINGS, UNKNOWN, Finding, population_risk, profile
from bench.analysis.conditions import Condition, free_keys
from bench.analysis.measures import Measure, metric_name
from bench.analysis.plain_text import plain
from bench.analysis.setting import data_content, data_of, must_be_equal
from bench.analysis.study import Study
from bench.analysis.verdicts import Verdict, levels, paired_curves, verdict

EXCESS = "excess_risk"


@dataclass(frozen=True)
class Member:
    """One condition of one family.

    study, condition: the study and the condition in it.
    family: the name of the generator, with the sweep if several studies have this generator.
    data: the name of the training data. arm: the name of the condition, the same in all families.
    verdict: the verdict on the condition.
    measure: the excess risk if the truth is known, else the measure that stands for the risk; None if there is neither.
    findings: one for each of the eight meanings.
    """

    study: Study
    condition: Condition
    family: str
    data: str
    arm: str
    verdict: Verdict
    measure: Measure | None
    findings: list[Finding]

    @property
    def quantity(self) -> str:
        """The name of `measure`; "" if there is none."""
        return "" if self.measure is None else metric_name(self.measure.metric)

    def levels(self) -> str:
        """Return the risk at generation 0 and at the last one that all seeds have, `0.05 → 0.27`; "" if not known."""
        return "" if self.measure is None else levels(self.study, self.condition, self.measure)

    def change(self) -> Interval | None:
        """Return the mean excess risk minus that of ratio 0 (without a ratio 0: of generation 0), in nats; None if the
        truth is not known or the chains are too short. It is a difference, because an excess may be 0."""
        if self.measure is None or self.measure.metric != EXCESS:
            return None
        judged = paired_curves(self.study, self.condition, self.measure)
        return None if judged is None else collapse.shift(judged.curves, judged.reference)

    def rise(self) -> Finding:
        """Return the finding on any rise of the risk."""
        return next(finding for finding in self.findings if finding.meaning == ANY)


def members(every: Sequence[Study]) -> list[Member]:
    """Return the conditions of all families, ordered by condition and then by family; [] for a single family.

    A study whose protocol leaves sizes or other values free is left out. An arm with a selection, vetting, watermark or
    remedy is left out if only one study has it, because there is nothing to compare it with.
    """
    fixed = [study for study in every if not free_keys(study.rows[0])]
    families = {study: study.rows[0].generator for study in fixed}
    if len(set(families.values())) < 2:
        return []
    alike = Counter(families.values())
    named = {
        study: plain(name if alike[name] == 1 else f"{name} ({study.title.partition(':')[0]}, {study.hash})")
        for study, name in families.items()
    }
    having = Counter(_arm(c) for study in fixed for c in study.conditions)
    found = []
    for study in fixed:
        measure = study.total(EXCESS) or population_risk(study)
        findings = profile(study, every)
        found += [
            Member(study, c, named[study], _data(study), _arm(c), verdict(study, c), measure, findings[c])
            for c in study.conditions
            if c.is_plain or having[_arm(c)] > 1
        ]
    several = len({member.study.rows[0].generator for member in found}) > 1
    return sorted(found, key=lambda m: (_order(m.condition), m.family)) if several else []


def _arm(condition: Condition) -> str:
    """Return a condition's name, the same in all families. Replacement is named as blending at a ratio of 1."""
    if condition.ratio is not None and condition.is_plain and condition.label in (f"{condition.ratio:.2f}", "replace"):
        return f"{condition.ratio:.2f}"
    return condition.label


def _order(condition: Condition) -> tuple[float, str]:
    arm = _arm(condition)
    is_ratio = condition.ratio is not None and arm == f"{condition.ratio:.2f}"
    return (condition.ratio if is_ratio and condition.ratio is not None else 2.0, arm)


def _data(study: Study) -> str:
    return data_of(study.rows[0])


def _content(study: Study) -> str:
    """Return the identity of a study's real items by content, because one archive may have several names."""
    return data_content(study.rows[0])


def comparable(found: Sequence[Member]) -> tuple[list[str], list[str]]:
    """Return sentences on what may be compared across these families, and sentences on what may not."""
    studies = list(dict.fromkeys(member.study for member in found))
    name = {member.study: member.family for member in found}
    measure = {member.study: member.measure for member in found}
    known = {
        meaning: sorted({m.family for m in found for f in m.findings if f.meaning == meaning and f.answer != UNKNOWN})
        for meaning in MEANINGS
    }
    shared = [meaning for meaning, families in known.items() if len(families) > 1]
    alone = [f"{meaning} ({families[0]})" for meaning, families in known.items() if len(families) == 1]
    never = [meaning for meaning, families in known.items() if not families]
    yes, no = [], []
    yes.append("Verdicts and changes in per cent: each compares a family with its own ratio 0.")
    if shared:
        yes.append(f"Meanings of collapse that are known for two families or more: {', '.join(shared)}.")
    for what, families in _groups(studies, name, _same_scores):
        yes.append(f"FID and the other scores of {families}: the same {what}, feature space, reference and N.")
    exact = [study for study in studies if (m := measure[study]) is not None and m.metric == EXCESS]
    for what, families in _groups(exact, name, _content):
        yes.append(f"The excess risk of {families}, in nats above the same truth ({what}).")
    if exact:
        others = [name[study] for study in studies if study not in exact and measure[study] is not None]
        if others:
            no.append(
                f"The excess risk of {_list(name[s] for s in exact)} with the risk of {_list(others)}: the truth is "
                "known only for the first."
            )
    own = sorted({name[s] for s in studies if (m := measure[s]) is not None and m.metric == "risk"})
    if len(own) > 1:
        no.append(f"The risk of {_list(own)} as a number: each is the family's own loss, in its own unit.")
    labels = {_content(study): _data(study) for study in studies}
    if len(labels) > 1:
        named_alike = Counter(labels.values())
        told = "; ".join(
            f"{name[study]} on {_data(study)}" + (f" ({_content(study)[:8]})" if named_alike[_data(study)] > 1 else "")
            for study in studies
        )
        no.append(f"Scores on different data: {told}. How hard a data set is to learn is not a property of a family.")
    spaces = {name[s]: m.feature_space for s in studies if (m := s.primary("fid")) is not None}
    if len(set(spaces.values())) > 1:
        told = "; ".join(f"{family} in {space}" for family, space in spaces.items())
        no.append(f"FID and the other scores in different feature spaces: {told}.")
    sizes = {study: (len(study.generations), study.rows[0].composition["num_real"]) for study in studies}
    if len(set(sizes.values())) > 1:
        told = "; ".join(f"{name[s]} {g} generations of {n} items" for s, (g, n) in sizes.items())
        no.append(f"How soon: {told}. The second half of the generations has a different length in each.")
    if alone:
        no.append(f"Meanings that are known for only one family: {', '.join(alone)}.")
    if never:
        no.append(f"Meanings that are known for no family: {', '.join(never)}.")
    return yes, no


def _same_scores(study: Study) -> Any:
    """Return a key that two studies must share for their scores to be compared."""
    fid = study.primary("fid")
    return study if fid is None else (fid, json.dumps(must_be_equal(study.rows[0]), sort_keys=True, default=str))


def _groups(studies: Iterable[Study], name: dict[Study, str], key: Any) -> Iterable[tuple[str, str]]:
    """Yield (data, names of the families) for each group of two or more studies with an equal key."""
    groups: dict[Any, list[Study]] = {}
    for study in studies:
        groups.setdefault(key(study), []).append(study)
    for group in groups.values():
        if len(group) > 1:
            yield _data(group[0]), _list(name[study] for study in group)


def _list(words: Iterable[str]) -> str:
    every = list(words)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"
