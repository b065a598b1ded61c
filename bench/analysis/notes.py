"""Notes on a study: what a reader must know before trusting its numbers."""

import json
from collections.abc import Callable

from bench.analysis.conditions import Condition
from bench.analysis.measures import metric_name
from bench.analysis.provenance import revisions, stage_code
from bench.analysis.setting import TRIFLES
from bench.flatten import flatten
from bench.ledger import Chain, Row


def notes_on(chains: dict[Condition, dict[int, Chain]]) -> list[str]:
    """Return notes on damage, differences that change no score, unequal lengths or numbers of seeds, mixed devices,
    precision, machines or versions of the code, uncommitted changes, files that were left out, missing floors and
    refused scores.

    Args:
        chains: condition -> seed -> chain.
    """
    every = [chain for by_seed in chains.values() for chain in by_seed.values()]
    notes = [note for chain in every for note in chain.notes]
    notes += _trifles(every)
    notes += _lengths(every)
    notes += _seeds(chains)
    notes += [note for condition, by_seed in chains.items() if (note := _precisions(condition, by_seed))]
    notes += mixed_devices(chains)
    notes += different_starts(chains)
    notes += _uncommitted(chains)
    rows = [row for chain in every for row in chain.rows]
    return notes + _left_out(rows) + _code(rows) + _missing_floors(rows) + _refusals(rows)


def _trifles(chains: list[Chain]) -> list[str]:
    """Return a note for every key that changes no score (`setting.TRIFLES`) and in which the chains differ."""
    notes = []
    for key in TRIFLES:
        counts: dict[str, int] = {}
        for chain in chains:
            value = flatten(chain.rows[-1].config).get(key, "default")
            shown = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
            counts[shown] = counts.get(shown, 0) + 1
        if len(counts) > 1:
            values = "; ".join(f"{value} in {n}" for value, n in counts.items())
            notes.append(
                f"chains differ in {key} ({values}): this changes no score, but some chains lack some of the scores"
            )
    return notes


def _lengths(chains: list[Chain]) -> list[str]:
    ends = {chain.id: chain.rows[-1].generation for chain in chains}
    last = max(ends.values())
    return [f"{name} ends at generation {end} of {last}" for name, end in ends.items() if end < last]


def _seeds(chains: dict[Condition, dict[int, Chain]]) -> list[str]:
    counts = {condition.label: len(by_seed) for condition, by_seed in chains.items()}
    notes = []
    if len(set(counts.values())) > 1:
        notes.append("seeds per condition differ: " + ", ".join(f"{label} has {n}" for label, n in counts.items()))
    if 1 in counts.values():
        notes.append("conditions with a single seed have no interval over seeds: another seed may differ")
    return notes


def _precisions(condition: Condition, by_seed: dict[int, Chain]) -> str:
    """Return a note if one condition was computed in several number formats; else ""."""
    seeds: dict[str, set[int]] = {}
    for seed, chain in by_seed.items():
        for row in chain.rows:
            seeds.setdefault(str(row.environment.get("precision") or "unknown"), set()).add(seed)
    if len(seeds) < 2:
        return ""
    parts = [f"{precision}: {', '.join(map(str, sorted(numbers)))}" for precision, numbers in sorted(seeds.items())]
    return (
        f"{condition.label}: seeds were run in different precision ({'; '.join(parts)}): "
        "this may be why their scores differ"
    )


def mixed_devices(chains: dict[Condition, dict[int, Chain]]) -> list[str]:
    """Return a note if conditions were run on different devices, so that their samples share no bytes."""
    labels = _labels_by(chains, lambda row: str(row.environment.get("device") or "unknown"))
    if len(labels) < 2:
        return []
    parts = "; ".join(f"{device}: {', '.join(found)}" for device, found in labels.items())
    shared = "chains of one seed share generation 0 on one device, and only the data across devices"
    return [f"conditions were run on different devices ({parts}): {shared}"]


def different_starts(chains: dict[Condition, dict[int, Chain]]) -> list[str]:
    """Return a note if conditions of one generator and device differ in generation 0, which trains on the same real
    items with the same seeds. Conditions with rules that change the samples of generation 0 are not compared."""
    starts: dict[tuple[str, str, int], dict[str, list[str]]] = {}
    for condition, by_seed in chains.items():
        for seed, row in ((seed, chain.rows[0]) for seed, chain in by_seed.items()):
            checksum = row.checksums.get("sample")
            if row.generation == 0 and checksum and not condition.changes_generation_0(row):
                generator = json.dumps(row.config.get("generator"), sort_keys=True)
                of = starts.setdefault((str(row.environment.get("device")), generator, seed), {})
                of.setdefault(checksum, []).append(condition.label)
    groups = {" / ".join(", ".join(labels) for labels in of.values()) for of in starts.values() if len(of) > 1}
    return [
        f"generation 0 of one seed has different samples in the conditions {group}: they were computed on different "
        "machines or with different settings, such as threads or versions, whose effect is part of every comparison"
        for group in sorted(groups)
    ]


def _uncommitted(chains: dict[Condition, dict[int, Chain]]) -> list[str]:
    """Return a note for every revision whose files had uncommitted changes, with the conditions that were run so."""
    return [
        f"run with uncommitted changes to the code ({revision}): {', '.join(found)}"
        for revision, found in _labels_by(chains, lambda row: revisions([row])[0]).items()
        if revision.endswith("+dirty")
    ]


def _labels_by(chains: dict[Condition, dict[int, Chain]], fact: Callable[[Row], str]) -> dict[str, list[str]]:
    """Return the values that a fact has in the rows, sorted, each with the labels of the conditions that have it."""
    labels: dict[str, dict[str, None]] = {}
    for condition, by_seed in chains.items():
        for row in (row for chain in by_seed.values() for row in chain.rows):
            labels.setdefault(fact(row), {})[condition.label] = None
    return {value: list(found) for value, found in sorted(labels.items())}


def _left_out(rows: list[Row]) -> list[str]:
    """Return a note for every reason for which files of a data folder were left out, with their number."""
    whys = {"num_unreadable": "cannot be read", "num_other_formats": "are pictures of other formats"}
    found: dict[str, None] = {}
    for row in rows:
        for name, why in whys.items():
            if count := row.environment.get("data_notes", {}).get(name):
                found[f"{count} files of data={row.dataset} {why} and were left out"] = None
    return list(found)


def _code(rows: list[Row]) -> list[str]:
    """Return a note for every part of the code of which several versions were used."""
    return [
        f"several versions of the code {part} were used ({', '.join(numbers)}): rerun the older chains"
        for part, numbers in stage_code([row for row in rows if row.code]).items()
        if len(numbers) > 1
    ]


def _missing_floors(rows: list[Row]) -> list[str]:
    """Return a note for every N of the samples at which there were too few training images for a floor."""
    sizes: dict[str, set[int]] = {"samples": set(), "real_train": set()}
    for row in rows:
        for score in row.scores:
            if score["reference"] == "heldout" and score["subject"] in sizes:
                sizes[score["subject"]].add(score["num_subject"])
    largest = max(sizes["real_train"], default=0)
    return [
        f"the floor at N = {n} is missing: there are too few training items, so real ones were scored at N = {largest}"
        for n in sorted(sizes["samples"] - sizes["real_train"])
        if 0 < largest < n
    ]


def _refusals(rows: list[Row]) -> list[str]:
    """Return a note for every attribute and reason for which scores of the samples were refused."""
    scores: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        for score in row.scores:
            if score["subject"] == "samples":
                for metric, reason in score.get("refused", {}).items():
                    attribute = score["parameters"].get("attribute", "")
                    scores.setdefault((attribute, reason), {})[metric_name(metric)] = None
    return [
        f"{', '.join(names)}{f' by {attribute}' if attribute else ''}: not computed, because {reason}"
        for (attribute, reason), names in scores.items()
    ]
