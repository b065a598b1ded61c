"""python -m bench.prefetch SPACE… [--weights FILE]: puts the weights where the scores look for them.

For machines without network: run it where there is one, and take the printed file along, either to the same place there
or anywhere, named by `metrics.weights=/path/to/file`. Prints path and SHA-256 per space.
"""

import argparse
import sys
from collections.abc import Sequence

from bench import registry
from bench.errors import BenchError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.prefetch", description="Downloads feature weights.")
    names = registry.names(registry.FEATURES)
    parser.add_argument("spaces", nargs="+", choices=names, metavar="SPACE", help=", ".join(names))
    parser.add_argument("--weights", help="check this local file instead of downloading; for one SPACE")
    options = parser.parse_args(arguments)
    if options.weights and len(options.spaces) > 1:
        parser.error("--weights goes with one SPACE")

    from bench.features.shared.extraction import prefetch  # torch only now: --help and mistakes are answered at once
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
