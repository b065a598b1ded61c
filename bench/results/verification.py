"""Checks that a run must pass before its numbers may stand beside the reference.

They cover the protocol, hashes, the audit, seeds, generation 0 and the likeness to the reference.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from bench import protocols
from bench.analysis.conditions import Condition, free_keys
from bench.analysis.measures import Measure, metric_name
from bench.analysis.study import Study, studies
from bench.audit import audit_chain
from bench.errors import LedgerError
from bench.flatten import flatten
from bench.ledger import Chain, Row
from bench.results import likeness, shelf
from bench.results.gate import were_left_out
from bench.results.likeness import DIFFERENT, UNKNOWN, Compared, Likeness
from bench.results.result_file import study_of
from bench.results.shelf import Entry

MOVES_DIGITS = ("device", "processor", "cpu_model", "cpu_capability", "num_threads", "precision", "compile", "versions")
"""Facts of a machine that can change the bytes of samples."""
MOST_PER_CHAIN = 3
"""Number of problems of one kind that are listed for each chain."""


@dataclass(frozen=True)
class Verification:
    """The result of checking a run.

    problems: One sentence each; a run passes if there are none.
    notes: Facts that are no problems, such as checks that were not made.
    likeness: The comparison with the reference; None if there is no reference.
    """

    problems: list[str]
    notes: list[str] = field(default_factory=list)
    likeness: Likeness | None = None


def verify(run: Sequence[Chain], entries: Sequence[Entry]) -> Verification:
    """Check the chains of one study.

    Args:
        run: The chains, read from ledgers or from files of results, which checks their digests.
        entries: The reference; its claimed entries are ignored.
    """
    try:
        reference = [entry.chain for entry in shelf.of_the_study(entries, run[0])]
    except LedgerError as error:
        reference, missing = [], str(error)
    problems = [line for chain in run for line in off_protocol(chain)]
    deviating = [f"{c.id} deviates from {c.rows[0].protocol['name']}: {line}" for c in run for line in deviations(c)]
    problems += [] if reference else deviating
    audited = [chain for chain in run if _is_stored(chain)]
    problems += [line for chain in audited for line in _first_few(audit_chain(chain), chain)]
    notes = [f"{chain.id} was not audited: its stored results are not here" for chain in run if chain not in audited]
    notes += [f"{line}; so does the reference" for line in deviating] if reference else []
    problems += [f"{chain.id} lacks {generations}" for chain in run if (generations := _lacking(chain))]
    problems += left_out(run, reference)
    if not reference:
        return Verification(problems, [*notes, f"{missing}: the scores were compared with nothing"])
    problems += [
        f"generation 0 is outside the reference's spread: {describe(one)}" for one in beyond_at_start(run, reference)
    ]
    alike = likeness.liken(run, reference)
    for chain in run:
        problems += _first_few(alike.contradictions.get(chain.id, []), chain)
    if alike.outcome == DIFFERENT:
        problems += [f"differs from the reference: {describe(one)}" for one in likeness.different(alike.compared)[:5]]
    if alike.outcome == UNKNOWN:
        notes.append("the bytes differ, and one seed on each side has no spread: whether the scores agree is unknown")
    notes += [f"{name} is not in the reference" for name in alike.alone]
    if lacking := not_run(run, reference):
        notes.append(f"the reference also has {', '.join(lacking)}: this run has no such chain")
    if other := alike.other:
        have = "chains have" if len(other) > 1 else "chain has"
        how = machines([chain for chain, _ in other], [known for _, known in other])
        notes.append(f"{len(other)} {have} other samples than the reference; {how}")
    return Verification(problems, notes, alike)


def _is_stored(chain: Chain) -> bool:
    """Return whether the store has samples of a chain; a store of that name may be another one."""
    store = Path(chain.rows[0].store_dir or "/nowhere")
    return any((store / row.artifacts["samples"]).exists() for row in chain.rows if "samples" in row.artifacts)


def _first_few(lines: Sequence[str], chain: Chain) -> list[str]:
    """Return the first `MOST_PER_CHAIN` problems of a chain, and the number of the others."""
    rest = len(lines) - MOST_PER_CHAIN
    return [*lines[:MOST_PER_CHAIN], *([f"{chain.id}: and {rest} more of this kind"] if rest > 0 else [])]


def _lacking(chain: Chain) -> str:
    """Return the generations that a chain lacks, such as `generation 4` or `generations 6, 7`; "" if it is whole."""
    planned = range(int(chain.rows[-1].config.get("num_generations", 0)))
    missing = sorted({*planned} - {row.generation for row in chain.rows})
    return f"generation{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}" if missing else ""


def off_protocol(chain: Chain) -> list[str]:
    """Return how a chain contradicts the protocol that it states, or that this version does not have the protocol."""
    row = chain.rows[0]
    problems = []
    if len({study_of(one)["fingerprint"] for one in chain.rows}) > 1:
        problems.append(f"{chain.id} has generations of several studies")
    name = row.protocol.get("name")
    if not name:
        return problems
    known = _known(name)
    if known is None:
        return [*problems, f"{chain.id} follows protocol {name}, which this version does not have"]
    stated = (row.protocol.get("version"), row.protocol.get("fingerprint"))
    if stated != known:
        problems.append(
            f"{chain.id} follows {name} version {stated[0]} of fingerprint {str(stated[1])[:16]}, and this version has "
            f"version {known[0]} of fingerprint {known[1][:16]}"
        )
    departs, said = _departures(row, name), row.protocol.get("deviations") or {}
    if departs != said:
        problems.append(f"{chain.id} states deviations {said}, and departs from {name} in {departs}")
    return problems


def deviations(chain: Chain) -> list[str]:
    """Return the deviations from a protocol that a chain states, such as `num_generations is 3, not 10`."""
    stated = chain.rows[0].protocol.get("deviations") or {}
    return [f"{key} is {given!r}, not {frozen!r}" for key, (frozen, given) in stated.items()]


@cache
def _known(name: str) -> tuple[int | None, str] | None:
    """Return version and fingerprint of a protocol in this version; None if it has no such protocol."""
    try:
        protocol = protocols.compose_protocol(name)
    except HydraException:
        return None
    return protocol.protocol.version, protocols.fingerprint(protocol)


def _departures(row: Row, name: str) -> dict[str, list[Any]]:
    """Return `protocols.departures` of a row from a protocol; keys that are newer than the row count as equal."""
    recorded = flatten(row.config)
    found = protocols.departures(protocols.compose_protocol(name), row.config)
    return {key: values for key, values in found.items() if key in recorded or values[0] is None}


def machines(run: Sequence[Chain], reference: Sequence[Chain]) -> str:
    """Return how the machines of a run differ from those of its reference (`MOVES_DIGITS`)."""
    sides = []
    for chains in (run, reference):
        facts = [flatten({key: row.environment.get(key) for key in MOVES_DIGITS}) for c in chains for row in c.rows]
        sides.append({key: sorted({str(fact[key]) for fact in facts if fact.get(key) is not None}) for key in facts[0]})
    ours, theirs = sides
    differing = [
        f"{key} {'/'.join(ours[key])} and {'/'.join(theirs[key])}"
        for key in ours
        if ours[key] and theirs.get(key) and ours[key] != theirs[key]
    ]
    return f"what differs: {', '.join(differing)}" if differing else "nothing that is recorded of the machines differs"


def left_out(run: Sequence[Chain], reference: Sequence[Chain]) -> list[str]:
    """Return one sentence for each condition of the run that lacks seeds.

    The expected seeds are those of the reference if it has the condition, else those of all conditions of the run.
    """
    known = (
        {(s.hash, c): set(by_seed) for s in studies(reference) for c, by_seed in s.chains.items()} if reference else {}
    )
    problems = []
    for study in studies(run):
        for condition, by_seed in study.chains.items():
            expected = known.get((study.hash, condition), set(study.seeds))
            if missing := sorted(expected - set(by_seed)):
                problems.append(f"{condition.label}: {were_left_out(missing)}")
    return problems


def not_run(run: Sequence[Chain], reference: Sequence[Chain]) -> list[str]:
    """Return the labels of the conditions that the reference has and the run lacks."""
    ours = {(study.hash, condition) for study in studies(run) for condition in study.conditions}
    return [c.label for study in studies(reference) for c in study.conditions if (study.hash, c) not in ours]


def beyond_at_start(run: Sequence[Chain], reference: Sequence[Chain]) -> list[Compared]:
    """Return the main scores of generation 0 that differ from the reference beyond chance.

    Generation 0 trains only on real items, so it is the same for all plain conditions of a seed that have the same free
    keys, and these are compared together. A condition with a rule, such as a selection, is compared with the same one.
    """
    by_setting = {study.hash: study for study in studies(reference)}
    compared = []
    for study in studies(run):
        other = by_setting.get(study.hash)
        if other is None:
            continue
        groups, known = _alike_at_start(study), _alike_at_start(other)
        for key, conditions in groups.items():
            for measure in study.measures():
                ours, theirs = _at_start(study, conditions, measure), _at_start(other, known.get(key, []), measure)
                if measure.metric in likeness.MAIN_METRICS and measure.reference == "heldout" and ours and theirs:
                    compared.append(likeness.compare(conditions[0], 0, measure, ours, theirs))
    return likeness.different(compared)


def _alike_at_start(study: Study) -> dict[str, list[Condition]]:
    """Return the conditions in groups that share generation 0, by a key that is the same in other runs of the study."""
    groups: dict[str, list[Condition]] = {}
    free = free_keys(study.rows[0])
    for condition in study.conditions:
        given = json.loads(condition.parameters)
        own = {key: given.get(key) for key in free} if condition.is_plain else [condition.policy, given]
        groups.setdefault(json.dumps(own, sort_keys=True), []).append(condition)
    return groups


def _at_start(study: Study, conditions: Sequence[Condition], measure: Measure) -> dict[int, float]:
    """Return seed -> score of generation 0 of these conditions; if they differ in it, that of the last one."""
    values: dict[int, float] = {}
    for condition in conditions:
        values |= study.values(condition, 0, measure)
    return values


def describe(one: Compared) -> str:
    """Return the comparison of one score in words."""
    condition: Condition = one.condition
    z = "" if one.z is None else f" (z = {one.z:+.1f}, p = {one.p:.1g})"
    space = one.measure.feature_space
    return (
        f"{condition.label}, generation {one.generation}, {metric_name(one.measure.metric)} in {space}: "
        f"{one.run:.4g}, but {one.reference:.4g} in the reference{z}"
    )
