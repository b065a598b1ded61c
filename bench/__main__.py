"""The Hydra app. One chain: `python -m bench experiment=quick`; a sweep: the same with `-m` and lists of values.

Nothing heavy is imported before the configuration has been checked, so help and mistakes take well under a second.
"""

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from bench.config import Config, from_hydra, register_schemas
from bench.errors import BenchError

log = logging.getLogger("bench")

register_schemas()


@hydra.main(version_base="1.3", config_path="pkg://bench.conf", config_name="config")
def app(tree: DictConfig) -> str:
    """Runs one chain and returns its directory."""
    config = from_hydra(tree)
    return str(run(config))


def run(config: Config) -> Path:
    """One chain, from a checked configuration."""
    from bench.console import Console
    from bench.loop import run_chain

    return run_chain(config, Console())


def main() -> None:
    """Exit status: 0 all done; 1 a chain failed; 2 the configuration is wrong."""
    try:
        app()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
