"""python -m bench.prefetch SPACE… or key=value…: download weights and data sets to where runs look for them.

For machines without a network: run this command on a machine with one, and copy the printed files, either to the same
paths or to any path, which `metrics.weights=/path/to/file` or `data.root=/path` then name. Given the overrides of a run
(`experiment=flowers64`), the command fetches everything that this run needs. It prints the name, SHA-256 and path of
the weights of each space, and the checksum of the data set.
"""

import argparse
import sys
from collections.abc import Sequence

from bench import registry
from bench.errors import BenchError
from bench.machine.pipes import exit_with


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.prefetch", description="Download weights and data sets.")
    names = registry.names(registry.FEATURES)
    what = f"feature spaces ({', '.join(names)}), or the overrides of a run, such as experiment=flowers64"
    parser.add_argument("wanted", nargs="+", metavar="SPACE|key=value", help=what)
    parser.add_argument("--weights", help="check this local file instead of downloading; for one SPACE")
    options = parser.parse_args(arguments)
    spaces = [word for word in options.wanted if "=" not in word]
    overrides = [word for word in options.wanted if "=" in word]
    unknown = [space for space in spaces if space not in names]
    if unknown:
        parser.error(f"there is no feature space {unknown[0]}, there are {', '.join(names)}")
    if options.weights and len(options.wanted) > 1:
        parser.error("--weights needs exactly one SPACE")
    if overrides and spaces:
        parser.error("either feature spaces, or the overrides of a run")
    wanted: dict[str, str | None] = dict.fromkeys(spaces, options.weights)
    return fetch_run(overrides) if overrides else fetch_weights(wanted)


def fetch_weights(wanted: dict[str, str | None]) -> int:
    """Fetch the weights of feature spaces, or check local files. Return the exit status.

    wanted: Feature space -> a local file to check; None: download the weights if they are not there yet.
    """
    from bench.features.shared.extraction import prefetch  # here, because it imports torch, which --help does not need
    from bench.features.shared.weights import sha256_of

    status = 0
    for space, weights in wanted.items():
        try:
            path = prefetch(space, weights)
            print(f"{space}  {sha256_of(path)}  {path}" if path else f"{space}  has no weights", flush=True)
        except BenchError as error:  # continue, so that one call reports everything that is missing
            print(error, file=sys.stderr)
            status = 1
    return status


def fetch_run(overrides: Sequence[str]) -> int:
    """Fetch the weights and data of a run. Return the exit status."""
    from bench import datasets, generators, metrics, mistakes, protocols
    from bench.config import register_schemas

    register_schemas()
    try:
        config = protocols.compose_config(overrides)
    except mistakes.Mistakes as error:
        print(*mistakes.sentences(error, overrides), sep="\n", file=sys.stderr)
        return 2
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    spaces = (config.metrics, *metrics.in_extra_spaces(config.metrics))
    needed = {space.feature_space: space.weights for space in spaces} if "features" in metrics.needs(spaces[0]) else {}
    status = fetch_weights(needed)
    try:
        if model := generators.prefetch(config.generator):
            print(f"generator={config.generator.name}  {model}", flush=True)
    except BenchError as error:
        print(error, file=sys.stderr)
        status = 1
    try:
        num_items = datasets.look(config.data)
        print(f"data={config.data.name}  {datasets.data_spec(config.data)['content']}  {num_items} items")
    except BenchError as error:
        print(error, file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    exit_with(main)
