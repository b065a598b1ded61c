"""python -m bench.tracking.replay RUNS…: sends finished ledgers to W&B, e.g. those of runs without a network.

Every chain becomes the same W&B run that tracking would have created: same id, group, axis and images. The command may
be repeated any number of times: generations that were sent from this disk are not sent again, and W&B drops steps that
it already has.
"""

import argparse
import logging
import sys
from pathlib import Path

from bench import ledger
from bench.analysis.artifacts import load_probes
from bench.config import TrackingConfig
from bench.errors import BenchError
from bench.ledger import Chain
from bench.machine.pipes import exit_with
from bench.tracking import trackers


def replay(chain: Chain, settings: TrackingConfig) -> None:
    """Send every row of a chain that has not been sent yet. Failures of W&B are logged, not raised."""
    row = chain.rows[-1]
    tracker = trackers.start(settings, chain_id=chain.id, sweep=row.sweep, config=row.config, directory=chain.directory)
    for row in chain.rows:
        tracker.log_generation(row, load_probes(chain, row))
    tracker.finish("finished")


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Return 0, or 2 if a ledger or its probes cannot be read."""
    defaults = TrackingConfig()
    parser = argparse.ArgumentParser(
        prog="python -m bench.tracking.replay", description="Send finished ledgers to W&B."
    )
    parser.add_argument("runs", nargs="+", type=Path, help="directories of chains, of sweeps, or ledger files")
    parser.add_argument("--project", default=defaults.project, help=f"default: {defaults.project}")
    parser.add_argument("--entity", default=None, help="default: the entity of the API key")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = TrackingConfig("wandb", project=given.project, entity=given.entity)
    try:
        chains = ledger.read_runs(given.runs)
        for number, chain in enumerate(chains, start=1):
            print(f"{number}/{len(chains)} {chain.id}: {len(chain.rows)} generations", file=sys.stderr)
            replay(chain, settings)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    exit_with(main)
