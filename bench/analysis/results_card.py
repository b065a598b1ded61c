"""The results card: what a study shows, everything needed to cite and repeat it, and what it may be compared with."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.analysis import collapse_profile, exchange_rate, variance_components
from bench.analysis.collapse_profile import profile
from bench.analysis.exchange_rate import exchanges
from bench.analysis.measures import Measure
from bench.analysis.provenance import hardware, package_version, stage_code, versions
from bench.analysis.score_tables import Table, tables
from bench.analysis.setting import must_be_equal
from bench.analysis.study import Study
from bench.analysis.variance_components import variances
from bench.analysis.verdicts import verdict
from bench.errors import LedgerError

CARD = 1
"""Version of the card's format."""


def card(study: Study, every: Iterable[Study] = ()) -> dict[str, Any]:
    """Return the card of a study, ready for JSON. Scores carry the value of every seed; nothing is rounded.

    Args:
        study: the study to describe.
        every: all available studies, because some statements compare several.
    """
    rows, every = study.rows, list(every)
    first = rows[0]
    score_tables = tables(study)
    findings = profile(study, every)
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
                "collapse_profile": collapse_profile.described(findings[condition]),
                "chains": [
                    {
                        "id": chain.id,
                        "seed": seed,
                        "config_hash": chain.rows[-1].config_hash,
                        "command": chain.rows[-1].environment.get("command"),
                    }
                    for seed, chain in by_seed.items()
                ],
            }
            for condition, by_seed in study.chains.items()
        ],
        "scores": [score for table in score_tables for score in _scores(table)],
        "baselines": [
            {**_described(table.measure), "subject": subject, "value": value}
            for table in score_tables
            for subject, value in study.baselines(table.measure).items()
        ],
        "exchange_rates": [exchange_rate.described(exchange) for exchange in exchanges(study)],
        "variance_components": [variance_components.described(found) for found in variances(study, every)],
        "hardware": hardware(rows),
        "precision": sorted({str(row.environment.get("precision")) for row in rows}),
        "code_versions": stage_code(rows),
        "versions": versions(rows),
        "code_revisions": sorted({str(row.environment.get("code_revision")) for row in rows}),
        "images_seen": sum(row.train.get("images_seen", 0) for row in rows),
        "finished_at": max(row.finished_at for row in rows),
        "notes": study.notes,
    }


def _scores(table: Table) -> list[dict[str, Any]]:
    scores = []
    for line in table.lines:
        for generation, value in zip(table.generations, line.cells, strict=True):
            if value is not None:
                seeds = table.study.values(line.condition, generation, table.measure)
                scores.append(
                    {
                        **_described(table.measure),
                        "condition": line.condition.label,
                        "generation": generation,
                        "mean": value.mean,
                        "half_width_95": value.half_width,
                        "num_seeds": value.n,
                        "values": {str(seed): v for seed, v in seeds.items()},
                    }
                )
    return scores


def _described(measure: Measure) -> dict[str, Any]:
    return {
        "metric": measure.metric,
        "direction": measure.direction,
        "feature_space": measure.feature_space,
        "reference": measure.reference,
        "num_subject": measure.num_subject,
        "num_reference": measure.num_reference,
        "parameters": json.loads(measure.parameters),
    }


def load(path: Path) -> dict[str, Any]:
    """Read a card that `card` returned and that was written as JSON.

    Raises:
        LedgerError: the file is missing, is not JSON, or is not a card of this version.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LedgerError(f"{path} is not a readable results card: {error}") from error
    if not isinstance(body, dict) or body.get("card") != CARD:
        raise LedgerError(f"{path} is not a results card of form {CARD}")
    return body


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Return the reasons why the numbers of two cards may not be compared; [] if they may.

    Comparable cards have the same protocol and version, no deviations, the same data, the same scores (feature space,
    N, k, reference), and scores computed by the same code. Cards of one protocol also have the same precision, and the
    same code of mixing, training and sampling, because the protocol's fingerprint contains them.
    """
    reasons = []
    if a["protocol"]["text"] != b["protocol"]["text"]:
        reasons.append(f"protocol: {a['protocol']['text']} / {b['protocol']['text']}")
    elif a["protocol"].get("deviations"):
        name = a["protocol"]["name"]
        reasons.append(f"both deviate from {name}: it is not known whether the rest of the protocol agrees")
    left, right = a["must_be_equal"], b["must_be_equal"]
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            reasons.append(f"{key}: {left.get(key)} / {right.get(key)}")
    reasons += _other_code(a, b, all_stages=bool(a["protocol"].get("name")))
    if not {score_key(s) for s in a["scores"]} & {score_key(s) for s in b["scores"]}:
        reasons.append("no score is in both")
    return reasons


def _other_code(a: dict[str, Any], b: dict[str, Any], all_stages: bool) -> list[str]:
    """Return how two cards differ in precision and in the versions of the code that both used; [] if they do not state
    these.

    all_stages: whether mixing, training, sampling and precision count as well.
    """
    left, right = ({**c.get("code_versions", {}), "precision": c.get("precision", [])} for c in (a, b))
    shared = [key for key in sorted(left.keys() & right.keys()) if all_stages or key.startswith(("real.", "score."))]
    names = {key: key if key == "precision" else f"version of the code {key}" for key in shared}
    return [
        f"{names[key]}: {', '.join(left[key])} / {', '.join(right[key])}"
        for key in shared
        if left[key] and right[key] and left[key] != right[key]
    ]


def score_key(score: dict[str, Any]) -> tuple:
    """Return a key that is equal for all scores that a card's score may be compared with."""
    keys = ("metric", "feature_space", "reference", "num_subject", "num_reference")
    return (*(score[key] for key in keys), json.dumps(score["parameters"], sort_keys=True))


def check_comparable(cards: dict[str, dict[str, Any]]) -> None:
    """Raise an error unless every pair of cards may be compared.

    Raises:
        LedgerError: a pair differs; the message names every reason.
    """
    names = list(cards)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            reasons = differences(cards[one], cards[other])
            if reasons:
                raise LedgerError(f"{one} and {other} may not be compared:\n  " + "\n  ".join(reasons))
