"""python -m bench.score --real A --fake B: compute every score of one set of images against another, outside any chain.

A and B are folders of pictures, NumPy arrays (.npy, or .npz with `images`) or stored pools. The command prints a table,
or JSON with --json, to stdout and progress to stderr. Each score comes with two controls: real images against real
images (the floor, which a perfect generator would reach in expectation) and both sets shuffled together (the score of
two sets that do not differ).

From Python, call `bench.score(real, fake)`, with the flags as parameters (`bench.score_sets.score`). Python sets an
imported submodule as an attribute of its package, so importing this module would replace a function `bench.score`.
Therefore this module itself is callable: `bench.score` is the same object, whatever was imported before.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from bench import registry
from bench.errors import BenchError, ConfigError, ConfigErrors
from bench.machine.pipes import exit_with
from bench.score_sets import Scores, families, score

__wrapped__ = score  # `inspect`, and therefore a notebook, shows the signature of this function


class _Callable(ModuleType):
    """A module that can be called like the function of the same name."""

    def __call__(self, *sets: Any, **parameters: Any) -> Scores:
        return score(*sets, **parameters)


sys.modules[__name__].__class__ = _Callable


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line. arguments: The command line; None: that of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.score", description=(__doc__ or "").split("\n\n")[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--real", required=True, metavar="A", help="reference images: folder, .npy, .npz or stored pool")
    add("--fake", required=True, metavar="B", help="images to score: the same formats")
    add("--train", metavar="C", help="training images of the model that made the fake ones: adds the copying scores")
    add("--unseen", metavar="D", help="images of the source of --train that the model was not trained on: "
        "adds closer_to_training and near_copy_rate")  # fmt: skip
    add("--feature-space", default="efficientnet_lite0", metavar="SPACE",
        help=f"{', '.join(registry.names(registry.FEATURES))}, or module:function (default: %(default)s)")  # fmt: skip
    add("--weights", metavar="FILE", help="local file with the feature extractor's weights")
    add(
        "--num-images", type=int, metavar="N", help="images on each side, drawn at random (default: all of the smaller)"
    )
    add("--resolution", type=int, metavar="PX",
        help="crop pictures of a folder to squares and resize them to PX (default: as they are)")  # fmt: skip
    known = families()
    add("--scores", nargs="+", metavar="NAME",
        help=f"families ({', '.join(known)}), single scores ({', '.join(m for own in known.values() for m in own)}) "
        "or module:function (default: all that the sets allow)")  # fmt: skip
    add("--k", type=int, default=3, help="neighbours of the k-NN scores (default: %(default)s)")
    add("--resamples", type=int, default=0, metavar="M",
        help="half-samples of the images for a standard deviation of each score (default: none)")  # fmt: skip
    add("--resplits", type=int, default=10, metavar="R",
        help="random splits of the real images for the floor's interval; 0: none (default: 10)")  # fmt: skip
    add("--seed", type=int, default=0, help="seed of the draws of images (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (default: %(default)s)")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


FLAG = re.compile(
    r"(?<![\w/.-])(?:(num_images|feature_space)\b|(scores|weights|resolution|k|resamples|resplits|seed|device)(?==))"
)
"""Parameter names in a message. A name of two words matches anywhere, a name of one word only before `=`."""


def in_flags(error: BenchError) -> str:
    """Return the message of an error, with parameter names of the function replaced by flags of the command."""
    if isinstance(error, ConfigErrors):
        return "\n".join(map(in_flags, error.errors))
    text = f"{error.key}={error.value}: {error.allowed}" if isinstance(error, ConfigError) else str(error)
    return FLAG.sub(lambda name: "--" + (name[1] or name[2]).replace("_", "-"), text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = vars(parse(arguments))
    as_json = options.pop("json")
    if options["scores"]:
        options["scores"] = [name for given in options["scores"] for name in given.split(",") if name]
    try:
        scores = score(**options)
    except BenchError as error:
        print(f"error: {in_flags(error)}", file=sys.stderr)
        return 1
    print(json.dumps(scores.result, indent=1) if as_json else scores)
    return 0


if __name__ == "__main__":
    exit_with(main)
