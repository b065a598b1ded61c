"""Lossless conversion of a chain's rows to columns and back: a value that is equal in all generations is stored once.

A row of a ledger takes about 30 KB, most of which describes its scores. Ten rows as columns take about as much as one.
"""

import itertools
import json
from collections.abc import Sequence
from typing import Any

EACH = "each"
"""The key of a list with one value per row."""
OF_A_GROUP = ("feature_space", "subject", "reference", "num_subject", "num_reference")
"""The keys that neighbouring scores share, in the order of the file."""


def fold(values: Sequence[Any]) -> Any:
    """Return one value for all rows: the value if all are equal, dicts with equal keys folded by key, else a list."""
    first = values[0]
    if all(value == first and type(value) is type(first) for value in values):
        return first
    if all(isinstance(value, dict) and value.keys() == first.keys() for value in values):
        return {key: fold([value[key] for value in values]) for key in first}
    return {EACH: list(values)}


def unfold(folded: Any, num_rows: int) -> list[Any]:
    """Return the values of all rows, the inverse of `fold`. Raise `ValueError` for a list of another length."""
    if not isinstance(folded, dict):
        return [folded] * num_rows
    if folded.keys() == {EACH}:
        if len(folded[EACH]) != num_rows:
            raise ValueError(f"a column has {len(folded[EACH])} values for {num_rows} generations")
        return list(folded[EACH])
    columns = {key: unfold(value, num_rows) for key, value in folded.items()}
    return [{key: column[i] for key, column in columns.items()} for i in range(num_rows)]


def fold_scores(rows: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return groups of scores, in the order of the longest row.

    A group has the keys that its scores share and, under `scores`, each of them as a column. A score that some rows
    lack lists under `rows` the positions of those that have it.

    Args:
        rows: The scores of every row.
    """
    by_row = [{_key(score): score for score in scores} for scores in rows]
    order = dict.fromkeys(key for scores in sorted(by_row, key=len, reverse=True) for key in scores)
    groups = []
    for shared, keys in itertools.groupby(order, key=lambda key: key[0]):
        found = []
        for key in keys:
            having = [i for i, scores in enumerate(by_row) if key in scores]
            column = fold([{k: v for k, v in by_row[i][key].items() if k not in OF_A_GROUP} for i in having])
            found.append(column if len(having) == len(rows) else {"rows": having, **column})
        groups.append({**json.loads(shared), "scores": found})
    return groups


def unfold_scores(groups: Sequence[dict[str, Any]], num_rows: int) -> list[list[dict[str, Any]]]:
    """Return the scores of every row, the inverse of `fold_scores`."""
    rows: list[list[dict[str, Any]]] = [[] for _ in range(num_rows)]
    for group in groups:
        shared = {key: group[key] for key in OF_A_GROUP}
        for column in group["scores"]:
            having = column.get("rows", range(num_rows))
            own = unfold({key: value for key, value in column.items() if key != "rows"}, len(having))
            for i, values in zip(having, own, strict=True):
                rows[i].append({**shared, **values})
    return rows


def _key(score: dict[str, Any]) -> tuple[str, str]:
    """Return the key of a score's group, and the key of the score within the group."""
    own = {key: score[key] for key in ("metric", "parameters")}
    return json.dumps({key: score[key] for key in OF_A_GROUP}), json.dumps(own, sort_keys=True)
