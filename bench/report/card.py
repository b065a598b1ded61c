"""Results cards as Markdown: one card as text, and several cards in one table."""

import json
from collections.abc import Sequence
from typing import Any

from bench.analysis.measures import ARROWS, metric_name
from bench.analysis.results_card import card, check_comparable, load, score_key
from bench.analysis.score_tables import tables
from bench.analysis.study import Study
from bench.report.statements import Statement, to_lines
from bench.report.tables import in_cell, text

__all__ = ["card", "comparison", "load", "to_markdown"]


def to_markdown(study: Study, body: dict[str, Any], stated: Sequence[Statement] = ()) -> str:
    """Return a study's card as Markdown. body: The result of `card` for the study. stated: The statements about it."""
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
        "± is the 95 % interval of the mean over seeds (Student's t).",
        "",
    ]
    for table in tables(study):
        column = table.generations.index(last)
        shown = [(line, text(line.cells[column], table.places)) for line in table.lines]
        values = [f"{in_cell(line.condition.label)}: {f'({t})' if line.is_greyed[column] else t}" for line, t in shown]
        values += [f"{label}: {table.baseline(label)}" for label in table.baselines]
        m = table.measure
        about = in_cell(f"{m.feature_space}, against {m.reference}, {m.sizes}")
        lines.append(f"- **{table.name}** ({about}): {'; '.join(values)}")
    lines += ["", "## Verdicts", ""]
    lines += [f"- {in_cell(c['label'])}: {c['verdict']['badge']}. {c['verdict']['words']}" for c in body["conditions"]]
    if stated:
        lines += [
            "",
            "## Statements",
            "",
            *(f"- {in_cell(line)}" for statement in stated for line in to_lines(statement)),
        ]
    lines += ["", "## Commands", "", "```"]
    lines += [chain["command"] or "# not known" for c in body["conditions"] for chain in c["chains"]]
    return "\n".join([*lines, "```", *[f"\n> {note}" for note in study.notes]]) + "\n"


def comparison(cards: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table with one column per card.

    It has one line per score, condition and generation that at least two cards have. If the cards have no condition in
    common, it has all conditions for the scores and generations that they share.

    Args:
        cards: Name -> card.

    Raises:
        LedgerError: some pair of cards may not be compared; the message names every reason.
    """
    check_comparable(cards)
    names = list(cards)
    cells: dict[tuple, dict[str, str]] = {}
    for name, body in cards.items():
        for score in body["scores"]:
            key = (score_key(score), score["condition"], score["generation"], score["direction"])
            half = score["half_width_95"]
            value = f"{score['mean']:.4g}" + (f" ± {half:.2g}" if half is not None else "")
            cells.setdefault(key, {})[name] = f"{value} (n = {score['num_seeds']})"
    lines = [
        "| score | condition | generation | " + " | ".join(map(in_cell, names)) + " |",
        "|:--|:--|--:|" + "--:|" * len(names),
    ]
    shared = {key for key, by_card in cells.items() if len(by_card) > 1}
    if not shared:
        owners: dict[tuple, set[str]] = {}
        for (score, _, generation, _), by_card in cells.items():
            owners.setdefault((score, generation), set()).update(by_card)
        shared = {key for key in cells if len(owners[key[0], key[2]]) > 1}
        order = {key[0]: i for i, key in reversed([*enumerate(cells)])}
        cells = {key: cells[key] for key in sorted(cells, key=lambda key: (order[key[0]], key[2]))}  # side by side
    for key, by_card in cells.items():
        if key in shared:
            score, condition, generation, direction = key
            given = "".join(f", {k} = {v}" for k, v in json.loads(score[-1]).items())
            name = f"{metric_name(score[0])} {ARROWS[direction]}".rstrip()
            title = f"{name} ({score[1]}, {score[2]}, N = {score[3]}{given})"
            values = " | ".join(by_card.get(of, "–") for of in names)
            lines.append(f"| {in_cell(title)} | {in_cell(condition)} | {generation} | {values} |")
    return "\n".join(["± is the 95 % interval of the mean over n seeds (Student's t).", "", *lines]) + "\n"
