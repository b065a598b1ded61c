"""The statements of a results card, derived from the ledgers alone: values, means, intervals and verdicts."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from bench.ledger import Chain

MEASURE = ("metric", "feature_space", "reference", "num_subject", "num_reference", "parameters")


def examine(card: dict[str, Any], chains: Sequence[Chain]) -> list[str]:
    """Return the statements of a card (`card.json` of a report) that do not follow from these chains, one sentence
    each."""
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
            for rule in ("selection", "vetting", "watermark", "remedy"):
                about = chain.rows[0].config.get(rule) or {"name": "none"}
                if about["name"] != "none":
                    given[rule] = {k: v for k, v in about.items() if v is not None and v is not False and v != {}}
            joined = chain.rows[0].joined
            if joined:
                given["joined"] = {key: joined[key] for key in ("condition", "generation", "ratio")}
                if chain.rows[0].config["join"]["samples_of"] == "all":
                    given["joined"]["samples_of"] = "all"
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
        yield from _judgement(card, condition, members)


def _judgement(card: dict[str, Any], condition: dict[str, Any], members: dict[str, dict[str, Chain]]) -> Iterator[str]:
    """Yield a sentence if a condition's verdict, or the numbers behind it, do not follow from the chains."""
    against = {s["metric"]: s for s in reversed(card["scores"]) if s["reference"] == "heldout"}
    score = against.get("perplexity") or against.get("fid")
    by_seed = members[condition["label"]]
    if score is None or len(by_seed) < len(condition["chains"]):
        return
    word, numbers = _judge(_excess(card, condition, members, score))
    numbers = {"score": score["metric"]} | numbers if numbers else numbers
    said = condition["verdict"]
    same = word == said["badge"] and numbers.keys() == said["numbers"].keys()
    if not same or not all(_equal(numbers[name], said["numbers"][name]) for name in numbers):
        yield f"{condition['label']}: {said['badge']} {said['numbers']} in the card, {word} {numbers} by the ledgers"


Excess = tuple[str, list[int], list[list[float]]]
"""(what the curves are compared with, the seeds, and for each seed the score's relative excess from generation 0 on)"""


def _excess(
    card: dict[str, Any], condition: dict[str, Any], members: dict[str, dict[str, Chain]], score: dict[str, Any]
) -> Excess | None:
    """Return a condition's excess over the same seeds at ratio 0, or over its own generation 0. None if the curves are
    too short or have a value that is not positive.

    Args:
        card: the results card.
        condition: the condition in it.
        members: label -> seed -> chain.
        score: the score of the card that is judged.
    """
    mine = members[condition["label"]]
    zeros = [
        c["label"]
        for c in card["conditions"]
        if c["policy"] != "real_only"
        and c["parameters"].get("synthetic_ratio") == 0
        and not {"selection", "vetting", "watermark", "remedy", "joined"} & set(c["parameters"])
    ]
    other = members[zeros[0]] if zeros and zeros[0] != condition["label"] else {}
    shared = sorted((seed for seed in mine if seed in other), key=int)
    paired = len(shared) >= 3 or 0 < len(shared) == len(mine)
    seeds = shared if paired else sorted(mine, key=int)
    excess = []
    for seed in seeds:
        chain = _curve(mine[seed], score)
        base = _curve(other[seed], score) if paired else [chain[0]] * len(chain) if chain else []
        excess.append([a / b - 1 if min(a, b) > 0 else math.nan for a, b in zip(chain, base, strict=False)])
    length = min(map(len, excess), default=0)
    excess = [line[:length] for line in excess]
    if length < 3 or any(math.isnan(v) for line in excess for v in line):
        return None
    return ("ratio 0" if paired else "generation 0", [int(seed) for seed in seeds], excess)


def _curve(chain: Chain, score: dict[str, Any]) -> list[float]:
    """Return the values of generations 0, 1, … up to the first missing one."""
    values: list[float] = []
    while (value := _value(chain, len(values), score, "samples")) is not None:
        values.append(value)
    return values


def _judge(found: Excess | None) -> tuple[str, dict[str, Any]]:
    """Return the verdict of the benchmark's rule on an excess, and the numbers behind it."""
    if found is None:
        return "too short", {}
    against, seeds, lines = found
    length = len(lines[0])
    middle = (length + 1) // 2
    near, far = (1 + middle - 1) / 2, (middle + length - 1) / 2  # the mean generation of each half

    def three(line: Sequence[float]) -> list[float]:
        start, end = _mean(line[1:middle]), _mean(line[middle:])
        pace = (end - start) / (far - near)
        return [end, pace, pace - 0.5 * start / near]

    each = np.array([three(line) for line in lines])
    if len(lines) > 2:
        ends = [stats.ttest_1samp(values, 0).confidence_interval(0.95) for values in each.T]
        halves = [(end.high - end.low) / 2 for end in ends]
    else:
        squares, degrees = 0.0, 0
        for line in lines:
            for half in (line[1:middle], line[middle:]):
                if len(half) > 2:
                    squares += float(np.polyfit(range(len(half)), half, 1, full=True)[1].sum())
                    degrees += len(half) - 2
        shares = np.array([three(unit) for unit in np.eye(length).tolist()])[1:] ** 2
        share = shares.sum(axis=0)
        if against == "generation 0":
            share = share + np.array(three((1 + np.mean(lines, axis=0)).tolist())) ** 2
        quantile = stats.t.ppf(0.975, degrees) if degrees >= 4 else math.inf
        halves = [quantile * math.sqrt(squares / max(degrees, 1) * v / len(lines)) for v in share]
    values = each.mean(axis=0)
    (_, low, high), _, (_, least, most) = triples = [
        (v, v - h, v + h) for v, h in zip(values.tolist(), map(float, halves), strict=True)
    ]
    word = "inconclusive"
    if high < 0.1:
        word = "stable"
    elif low > 0:
        word = "diverging" if least > 0 else "bounded" if most < 0 else "rising"
    finite = [[v if math.isfinite(v) else None for v in triple] for triple in triples]
    if finite[0][1] is not None:
        finite[0][1] = max(finite[0][1], -1.0)  # no positive score falls by more than all of it
    numbers = {"against": against, "seeds": seeds, "num_generations": length}
    return word, numbers | dict(zip(("rise", "rate", "bend"), finite, strict=True))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _equal(a: Any, b: Any) -> bool:
    """Return whether two values of a card are equal up to rounding of floats."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else a == b


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
