"""A sweep that is finished says so without Hydra, which would compose every chain's configuration twice and take most
of the time with it.

The chains are read as their runs would read them, so that code, data or weights that have changed since are noticed.
Only where all is found, in the store and in the ledgers, is there nothing left for a run to do.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench import ledger, protocols
from bench.config import Config, chain_id
from bench.errors import BenchError
from bench.ledger import Row
from bench.store import Result, Store


class Unfinished(Exception):
    """A chain needs a result that is not in the store, or that its ledger does not name."""


class Recorded(Store):
    """Finds the results that a chain's ledger names, and makes none."""

    def __init__(self, root: Path, rows: Iterable[Row]) -> None:
        super().__init__(root)
        self._named = {self.root / path for row in rows for path in row.artifacts.values()}

    def make(self, stage: str, spec: dict[str, Any], produce: Callable[[Path, Path], dict[str, Any]]) -> Result:
        found = self.find(stage, spec)
        if found is None or found.path not in self._named:
            raise Unfinished
        return super().make(stage, spec, produce)


def all_read(configs: Iterable[Config]) -> bool:
    """Whether every chain is finished; says then what their runs would say. Chains that are mirrored are left to them:
    whether the mirror is complete is not known here."""
    chains = []
    try:
        for config in configs:
            protocols.check(config)
            rows = recorded(config)
            if config.tracking.tracker != "none" or len(rows) < config.num_generations:
                return False
            chains.append((config, rows))
        from bench import distributed  # torch only now, as in a run
        from bench.console import Console, Memo
        from bench.loop import run_chain

        if distributed.local_index() is not None:
            return False  # one of several processes, which had to agree on it
        memo = Memo()
        for config, rows in chains:
            run_chain(config, memo, Recorded(Path(config.store_dir), rows))
    except (Unfinished, BenchError, OSError):
        return False  # the runs say what is wrong, or put it right
    console = Console()
    for line in memo.lines:
        console.say(line)
    return True


def recorded(config: Config) -> list[Row]:
    """The rows of a chain's ledger; [] where there is none."""
    path = Path(config.output_dir) / config.name / chain_id(config) / ledger.FILENAME
    return ledger.read(path) if path.exists() else []
