"""python -m bench.prefetch SPACE… [--weights FILE]: download the weights to where the scores look for them.

For machines without a network: run this command on a machine with one, and copy the printed file, either to the same
path or to any path, which `metrics.weights=/path/to/file` then names. Prints the name, SHA-256 and path for each space.
"""

import argparse
import sys
from collections.abc import Sequence

from bench import registry
from bench.errors import BenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.prefetch", description="Download feature weights.")
    names = registry.names(registry.FEATURES)
    parser.add_argument("spaces", nargs="+", choices=names, metavar="SPACE", help=", ".join(names))
    parser.add_argument("--weights", help="check this local file instead of downloading; for one SPACE")
    options = parser.parse_args(arguments)
    if options.weights and len(options.spaces) > 1:
        parser.error("--weights needs exactly one SPACE")

    from bench.features.shared.extraction import prefetch  # here, because it imports torch, which --help does not need
    from bench.features.shared.weights import sha256_of

    try:
        for space in options.spaces:
            path = prefetch(space, options.weights)
            print(f"{space}  {sha256_of(path) if path else ''}  {path}")
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
