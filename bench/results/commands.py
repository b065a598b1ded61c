"""The commands that run the chains of a study again, merged from the recorded commands of the single chains."""

import shlex
from collections.abc import Sequence

from bench.config import all_local_keys
from bench.ledger import Chain, Row

KEPT = ("name", "num_generations", "num_probes", "runtime.num_threads")
"""Local keys that stay in the command. The number of threads is one of them, because it changes the last digits."""


def command_of(row: Row) -> list[str]:
    """Return the overrides that run a row's chain again; [] if its command is unknown.

    Local keys other than `KEPT` are left out, and the number of threads is added.
    """
    words = shlex.split(row.environment.get("command") or "")
    if words[:3] != ["python", "-m", "bench"]:
        return []
    left_out = [key for key in all_local_keys() if key not in KEPT]
    kept = [word for word in words[3:] if word.partition("=")[0].lstrip("+") not in left_out]
    kept = [word.replace("=…/", "=", 1) for word in kept]  # a path whose folders were removed keeps its file name
    threads = row.environment.get("num_threads")
    at_the_end = [word for word in kept if word.startswith("runtime.")]
    if threads and not any(word.startswith("runtime.num_threads=") for word in kept):
        at_the_end.append(f"runtime.num_threads={threads}")
    return [*(word for word in kept if word not in at_the_end), *at_the_end]


def commands(chains: Sequence[Chain]) -> list[str]:
    """Return the commands that run all chains, with commands that differ in one key merged into one with commas."""
    found = [dict(_split(word) for word in words) for chain in chains if (words := command_of(chain.rows[-1]))]
    grids: list[dict[str, tuple[str, ...]]] = [
        {key: (value,) for key, value in overrides.items()} for overrides in found
    ]
    for key in dict.fromkeys(key for grid in grids for key in grid):
        merged: dict[tuple, dict[str, tuple[str, ...]]] = {}
        for grid in grids:
            rest = (key in grid, frozenset((k, frozenset(values)) for k, values in grid.items() if k != key))
            if rest in merged and key in grid:
                grid = {**grid, key: tuple(dict.fromkeys((*merged[rest][key], *grid[key])))}
            merged[rest] = grid
        grids = list(merged.values())
    lines = []
    for grid in grids:
        many = any(len(values) > 1 for values in grid.values())
        words = [f"{key}={_listed(key, grid)}" for key in grid]
        lines.append(shlex.join(["python", "-m", "bench", *(["-m"] if many else []), *words]))
    return list(dict.fromkeys(lines))


def _split(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _listed(key: str, grid: dict[str, tuple[str, ...]]) -> str:
    """Return the values of a key as Hydra reads them. An option of a group that is swept has to be swept, too."""
    is_swept = len(grid.get(key.partition(".")[0], ())) > 1
    text = ",".join(_sorted(grid[key]))
    return f"choice({text})" if is_swept and "." in key and len(grid[key]) == 1 else text


def _sorted(values: Sequence[str]) -> list[str]:
    """Return values in ascending order if all are numbers, else in their original order."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return list(values)
