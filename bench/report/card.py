"""The results card: what a study found and everything needed to cite it, to repeat it, and to know what it may be
compared with."""

import json
from pathlib import Path
from typing import Any

from bench.analysis.study import PLACES, Study, data_content, flat
from bench.analysis.verdicts import verdict
from bench.errors import LedgerError
from bench.ledger import Row
from bench.report.citing import package_version
from bench.report.tables import Table, metric_name, tables, text

CARD = 1
"""Version of the form of a card."""
MUST_BE_EQUAL = ("data", "metrics")
"""Groups of the configuration in which two comparable results must agree. (A generator may differ: that is
compared.)"""
_NOT_NUMBERS = (*PLACES, "metrics.weights")


def card(study: Study) -> dict[str, Any]:
    """JSON-able. Scores carry every seed's value; nothing is rounded."""
    rows = study.rows()
    first = rows[0]
    return {
        "card": CARD,
        "benchmark": {"name": "diffusion-collapse-bench", "version": package_version()},
        "title": study.title,
        "protocol": {**first.protocol, "text": study.protocol},
        "setting": study.hash,
        "dataset": first.dataset,
        "generator": first.generator,
        "must_be_equal": must_be_equal(first),
        "num_generations": len(study.generations),
        "last_common_generation": study.last_common,
        "seeds": study.seeds,
        "conditions": [
            {
                "label": condition.label,
                "policy": condition.policy,
                "parameters": json.loads(condition.parameters),
                "verdict": vars(verdict(study, condition)),
                "chains": [
                    {
                        "id": chain.id,
                        "seed": seed,
                        "config_hash": chain.rows[-1].config_hash,
                        "command": chain.rows[-1].environment.get("command"),
                    }
                    for seed, chain in chains.items()
                ],
            }
            for condition, chains in study.chains.items()
        ],
        "scores": [entry for table in tables(study) for entry in _scores(study, table)],
        "baselines": [
            {**_measure(table), "subject": subject, "value": value}
            for table in tables(study)
            for subject, value in study.baselines(table.measure).items()
        ],
        "hardware": sorted({_hardware(row) for row in rows}),
        "versions": _versions(rows),
        "code_revisions": sorted({str(row.environment.get("code_revision")) for row in rows}),
        "images_seen": sum(row.train.get("images_seen", 0) for row in rows),
        "finished_at": max(row.finished_at for row in rows),
        "notes": study.notes,
    }


def must_be_equal(row: Row) -> dict[str, Any]:
    """The part of the configuration that decides what the scores are of, flat, and which real images they were."""
    chosen = flat({group: row.config.get(group, {}) for group in MUST_BE_EQUAL})
    kept = {key: value for key, value in chosen.items() if key not in _NOT_NUMBERS}
    return {**kept, "data.content": data_content(row)}


def _measure(table: Table) -> dict[str, Any]:
    m = table.measure
    return {
        "metric": m.metric,
        "direction": m.direction,
        "feature_space": m.feature_space,
        "reference": m.reference,
        "num_subject": m.num_subject,
        "num_reference": m.num_reference,
        "parameters": json.loads(m.parameters),
    }


def _scores(study: Study, table: Table) -> list[dict[str, Any]]:
    found = []
    for line in table.lines:
        for generation, value in zip(table.generations, line.cells, strict=True):
            if value is not None:
                seeds = study.values(line.condition, generation, table.measure)
                found.append(
                    {
                        **_measure(table),
                        "condition": line.condition.label,
                        "generation": generation,
                        "mean": value.mean,
                        "half_width_95": value.half_width,
                        "num_seeds": value.n,
                        "values": {str(seed): v for seed, v in seeds.items()},
                    }
                )
    return found


def _hardware(row: Row) -> str:
    words = [row.environment.get(key) for key in ("device", "processor", "precision")]
    return ", ".join(str(word) for word in words if word)


def _versions(rows: list[Row]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, number in {"python": row.environment.get("python"), **row.environment.get("versions", {})}.items():
            if number:
                found.setdefault(name, set()).add(number)
    return {name: sorted(numbers) for name, numbers in sorted(found.items())}


def to_markdown(study: Study, body: dict[str, Any]) -> str:
    """The card as a person reads it."""
    last = study.last_common
    lines = [
        f"# Results card: {study.title}",
        "",
        f"- protocol: {study.protocol}; setting {study.hash}; diffusion-collapse-bench {body['benchmark']['version']}",
        f"- seeds: {', '.join(map(str, study.seeds))}; generations: 0 to {study.generations[-1]}",
        f"- hardware: {'; '.join(body['hardware']) or 'not known'}",
        f"- code: {', '.join(body['code_revisions'])}",
        "- versions: " + ", ".join(f"{name} {'/'.join(numbers)}" for name, numbers in body["versions"].items()),
        "",
        f"## Generation {last}",
        "",
    ]
    for table in tables(study):
        column = table.generations.index(last)
        values = [f"{line.condition.label}: {text(line.cells[column], table.places)}" for line in table.lines]
        values += [f"{label}: {value:.{table.places}f}" for label, value in table.baselines.items()]
        m = table.measure
        lines.append(f"- **{table.name}** ({m.feature_space}, against {m.reference}, {m.sizes}): {'; '.join(values)}")
    lines += ["", "## Verdicts", ""]
    lines += [f"- {c['label']}: {c['verdict']['badge']}. {c['verdict']['words']}" for c in body["conditions"]]
    lines += ["", "## Commands", "", "```"]
    lines += [str(chain["command"]) for c in body["conditions"] for chain in c["chains"]]
    return "\n".join([*lines, "```", *[f"\n> {note}" for note in study.notes]]) + "\n"


# ------------------------------------------------------------------------------------------------------ comparison


def load(path: Path) -> dict[str, Any]:
    """A card that `card` made. Raises `LedgerError` where it is not one."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LedgerError(f"{path} is not a readable results card: {error}") from error
    if not isinstance(body, dict) or body.get("card") != CARD:
        raise LedgerError(f"{path} is not a results card of form {CARD}")
    return body


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Why two cards' numbers may not be compared; [] where they may. Same protocol and version without deviations on
    either side, same data and same scores (feature space, N, k, reference)."""
    reasons = []
    if a["protocol"]["text"] != b["protocol"]["text"]:
        reasons.append(f"protocol: {a['protocol']['text']} / {b['protocol']['text']}")
    elif a["protocol"].get("deviations"):
        reasons.append(f"both deviate from {a['protocol']['name']}: what is left of the protocol is not known to agree")
    left, right = a["must_be_equal"], b["must_be_equal"]
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            reasons.append(f"{key}: {left.get(key)} / {right.get(key)}")
    if not {_score_name(s) for s in a["scores"]} & {_score_name(s) for s in b["scores"]}:
        reasons.append("no score is in both")
    return reasons


def _score_name(score: dict[str, Any]) -> tuple:
    keys = ("metric", "feature_space", "reference", "num_subject", "num_reference")
    return (*(score[key] for key in keys), json.dumps(score["parameters"], sort_keys=True))


def comparison(cards: dict[str, dict[str, Any]]) -> str:
    """A Markdown table: one line per score, condition and generation that at least two cards have; one column per card.

    Raises `LedgerError` naming every reason where some pair of cards may not be compared.
    """
    names = list(cards)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            reasons = differences(cards[one], cards[other])
            if reasons:
                raise LedgerError(f"{one} and {other} may not be compared:\n  " + "\n  ".join(reasons))
    cells: dict[tuple, dict[str, str]] = {}
    for name, body in cards.items():
        for score in body["scores"]:
            key = (_score_name(score), score["condition"], score["generation"], score["direction"])
            half = score["half_width_95"]
            shown = f"{score['mean']:.4g}" + (f" ± {half:.2g}" if half is not None else "")
            cells.setdefault(key, {})[name] = f"{shown} (n = {score['num_seeds']})"
    lines = ["| score | condition | generation | " + " | ".join(names) + " |", "|:--|:--|--:|" + "--:|" * len(names)]
    for (score, condition, generation, direction), found in cells.items():
        if len(found) > 1:
            arrow = "↑" if direction == "up" else "↓"
            given = "".join(f", {k} = {v}" for k, v in json.loads(score[-1]).items())
            title = f"{metric_name(score[0])} {arrow} ({score[1]}, {score[2]}, N = {score[3]}{given})"
            shown = " | ".join(found.get(name, "–") for name in names)
            lines.append(f"| {title} | {condition} | {generation} | {shown} |")
    return "\n".join(lines) + "\n"
