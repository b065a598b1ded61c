"""The statements of a results card, derived from the ledgers alone: values, means, intervals, growth per generation."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from bench.ledger import Chain

MEASURE = ("metric", "feature_space", "reference", "num_subject", "num_reference", "parameters")


def examine(card: dict[str, Any], chains: Sequence[Chain]) -> list[str]:
    """Return what in a card (`card.json` of a report) does not follow from these chains, one sentence each."""
    return list(_differences(card, {chain.id: chain for chain in chains}))


def _differences(card: dict[str, Any], chains: dict[str, Chain]) -> Iterator[str]:
    members: dict[str, dict[str, Chain]] = {}
    for condition in card["conditions"]:
        label = condition["label"]
        members[label] = {str(c["seed"]): chains[c["id"]] for c in condition["chains"] if c["id"] in chains}
        if len(members[label]) < len(condition["chains"]):
            yield f"{label}: the card has chains that are not here"
        for seed, chain in members[label].items():
            mixing = chain.rows[0].config["mixing"]
            given = {k: v for k, v in mixing.items() if k != "policy" and v is not None}
            for rule in ("selection", "vetting"):
                about = chain.rows[0].config.get(rule) or {"name": "none"}
                if about["name"] != "none":
                    given[rule] = {k: v for k, v in about.items() if v is not None and v != {}}
            if (str(chain.rows[0].config["seed"]), mixing["policy"], given) != (
                seed,
                condition["policy"],
                condition["parameters"],
            ):
                yield f"{label}: chain {chain.id} is of another policy, or not of seed {seed}"
    on_card = set()
    for score in card["scores"]:
        label, generation = score["condition"], score["generation"]
        values = {s: v for s, c in members[label].items() if (v := _value(c, generation, score, "samples")) is not None}
        name = f"{label}, generation {generation}, {score['metric']} against {score['reference']}"
        on_card.add((label, generation, _key(score)))
        if values != score["values"] or score["num_seeds"] != len(values):
            yield f"{name}: the card has {score['values']}, the ledgers have {values}"
            continue
        mean, half = _interval(list(values.values()))
        if not math.isclose(mean, score["mean"], rel_tol=1e-9) or not _close(half, score["half_width_95"]):
            yield f"{name}: {score['mean']} ± {score['half_width_95']} in the card, {mean} ± {half} by the ledgers"
    for label, by_seed in members.items():
        rows = [row for chain in by_seed.values() for row in chain.rows]
        in_ledgers = {(label, r.generation, _key(e)) for r in rows for e in r.scores if e["subject"] == "samples"}
        if in_ledgers - on_card:
            yield f"{label}: {len(in_ledgers - on_card)} scores of the ledgers are not in the card"
    rows = [row for by_seed in members.values() for chain in by_seed.values() for row in chain.rows]
    for base in card["baselines"]:
        matching = [
            e["value"] for r in rows for e in r.scores if e["subject"] == base["subject"] and _key(e) == _key(base)
        ]
        if not matching or not math.isclose(np.mean(matching), base["value"], rel_tol=1e-9, abs_tol=1e-12):
            yield f"{base['subject']}: {base['metric']} is {base['value']} in the card, {set(matching)} in the ledgers"
    for condition in card["conditions"]:
        yield from _growth(card, condition, members[condition["label"]])


def _growth(card: dict[str, Any], condition: dict[str, Any], by_seed: dict[str, Chain]) -> Iterator[str]:
    """Check the factor of FID per generation in a verdict, with its interval, by least squares on log FID per seed."""
    words = re.search(r"×([\d.]+) a generation \(([\d.]+) to ([\d.]+)\)", condition["verdict"]["words"])
    score = next((s for s in card["scores"] if s["metric"] == "fid" and s["reference"] == "heldout"), None)
    if words is None or score is None or not by_seed:
        return
    length = min(len(chain.rows) for chain in by_seed.values())
    logs = [[math.log(_value(c, g, score, "samples") or math.nan) for g in range(length)] for c in by_seed.values()]
    fits = [stats.linregress(range(length), y) for y in logs]
    slope, inside = np.mean([fit.slope for fit in fits]), np.mean([fit.stderr**2 for fit in fits])
    between = np.var([fit.slope for fit in fits], ddof=1) if len(fits) > 1 else 0.0
    degrees = len(fits) - 1 if between > inside else len(fits) * (length - 2)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(max(between, inside) / len(fits))
    derived = [f"{math.exp(v):.2f}" for v in (slope, slope - half, slope + half)]
    if list(words.groups()) != derived:
        yield f"{condition['label']}: growth {words.groups()} a generation in the card, {derived} by the ledgers"


def _value(chain: Chain, generation: int, score: dict[str, Any], subject: str) -> float | None:
    for row in chain.rows:
        for entry in row.scores:
            if (row.generation, entry["subject"], _key(entry)) == (generation, subject, _key(score)):
                return float(entry["value"])
    return None


def _interval(values: list[float]) -> tuple[float, float | None]:
    n, mean = len(values), float(np.mean(values))
    return mean, float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None


def _close(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)


def _key(entry: dict[str, Any]) -> str:
    return str([sorted(entry[k].items()) if k == "parameters" else entry[k] for k in MEASURE])
