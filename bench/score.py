"""python -m bench.score --real A --fake B: compute every score of one set of images against another, outside any chain.

A and B are folders of pictures, NumPy arrays (.npy, or .npz with `images`) or stored pools. The command prints a table,
or JSON with --json, to stdout and progress to stderr. Each score comes with two controls: real images against real
images (the floor, which a perfect generator would reach in expectation) and both sets shuffled together (the score of
two sets that do not differ).
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench import registry
from bench.config import MetricsConfig, RuntimeConfig
from bench.errors import BenchError, DataError
from bench.image_sets import ImageSet, check_resolutions, read_images
from bench.options import check

log = logging.getLogger(__name__)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line; None: those of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.score", description=(__doc__ or "").split("\n\n", 1)[1],
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
    families = [name for name in registry.names(registry.SCORES) if "model" not in _needs(name)]
    add("--scores", nargs="+", default=list(families), choices=families, metavar="FAMILY",
        help=f"any of {', '.join(families)} (default: all that the sets allow)")  # fmt: skip
    add("--k", type=int, default=3, help="neighbours of the k-NN scores (default: %(default)s)")
    add("--resamples", type=int, default=0, metavar="M",
        help="half-samples of the images for a standard deviation of each score (default: none)")  # fmt: skip
    add("--resplits", type=int, default=10, metavar="R",
        help="random splits of the real images for the floor's interval; 0: none (default: 10)")  # fmt: skip
    add("--seed", type=int, default=0, help="seed of the draws of images (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (default: %(default)s)")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def _needs(family: str) -> tuple[str, ...]:
    return tuple(registry.load(registry.SCORES, family, "--scores").NEEDS)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Read the sets, extract their features and score them. Return the result that --json prints: `rows` in the form of
    the ledger, and where they come from. Raises `BenchError` for sets or options that cannot be scored."""
    from bench import metrics
    from bench.features.shared.extraction import feature_space_spec
    from bench.machine.console import Console
    from bench.machine.device import resolve_runtime

    sets = {name: read_images(path, options.resolution) for name, path in _paths(options).items()}
    check_resolutions(sets)
    config = _settings(options, sets)
    order = _draws(config, sets, options.seed)
    console = Console()
    runtime = resolve_runtime(RuntimeConfig(device=options.device, precision="fp32", compile=False))
    values = _features(config, sets, order, runtime, console)
    reference = values["real"][: config.num_images]
    with console.stage("score"):
        rows = metrics.score_with_controls(
            (values["fake"], reference),
            config,
            _floor(reference, values["real"], config, runtime.device),
            subject="fake",
            reference="real",
            training=values.get("train"),
            twin=_twin(values),
            attributes=_attributes(config, sets["real"], values["real"], order["real"], runtime.device),
            device=runtime.device,
        )
    return {
        **_paths(options),
        "feature_space": feature_space_spec(config.feature_space, config.weights),
        "num_real": len(sets["real"].images),
        "num_fake": len(sets["fake"].images),
        "seed": options.seed,
        "rows": rows,
    }


def _settings(options: argparse.Namespace, sets: dict[str, ImageSet]) -> MetricsConfig:
    """Return the configuration that the options describe, after checking it."""
    real, fake = len(sets["real"].images), len(sets["fake"].images)
    n = min(real, fake) if options.num_images is None else options.num_images
    if not 2 <= n <= min(real, fake):
        raise DataError(
            f"--num-images={n}: there are {real} real and {fake} fake images, so it must lie in [2, {min(real, fake)}]"
        )
    config = MetricsConfig(
        feature_space=options.feature_space,
        num_images=n,
        k=options.k,
        scores=options.scores,
        num_resamples=options.resamples,
        num_resplits=options.resplits,
        weights=options.weights,
    )
    check(config, "metrics")
    return config


def _draws(config: MetricsConfig, sets: dict[str, ImageSet], seed: int) -> dict[str, np.ndarray]:
    """Return the rows of each set that are used, int64, in random order: N of the fake images, and 2 N of the real ones
    because the floor compares two sets, or all of them if classifiers are fitted."""
    rng = np.random.default_rng(seed)
    order = {name: rng.permutation(len(images.images)) for name, images in sets.items()}
    order["fake"] = order["fake"][: config.num_images]
    if not ("tails" in config.scores and sets["real"].labels):  # classifiers learn from all real images
        order["real"] = order["real"][: 2 * config.num_images]
    return order


def _features(
    config: MetricsConfig, sets: dict[str, ImageSet], order: dict[str, np.ndarray], runtime: Any, console: Any
) -> dict[str, np.ndarray]:
    """Return the features of the drawn images of each set.

    Args:
        config: Feature space and weights.
        sets: The sets by name.
        order: Name -> rows to use, int64 (n,).
        runtime: Device and precision.
        console: Where progress is shown.

    Returns:
        Name -> float32 (n, d), in the order of the rows.
    """
    from bench.features.shared.extraction import extract, load_feature_space

    space = load_feature_space(config.feature_space, runtime, config.weights)
    values: dict[str, np.ndarray] = {}
    for name, images in sets.items():
        with console.stage(f"features of {name} images", unit="images") as progress:
            values[name] = extract(space, images.images, progress, order[name])
    return values


def _attributes(
    config: MetricsConfig, real: ImageSet, features: np.ndarray, rows: np.ndarray, device: Any
) -> dict[str, Any] | None:
    """Fit the classifiers of every labelled attribute to one half of the real images, and test them on the other half.

    The first N, which are the reference, are in the half that nothing is fitted to. The floor's other side comes first
    in the half that the classifiers are fitted to, so that `Attribute.predict` knows which model has not seen what.

    Args:
        config: Which families of scores are computed.
        real: The real images with their labels.
        features: float32 (n, d), the features of the drawn real images.
        rows: int64 (n,), the rows of the drawn real images.
        device: Where to fit.

    Returns:
        Attribute -> its classifiers; None if there are no labels or no score needs them.
    """
    from bench.metrics.shared.classifier import fit_attributes

    if "tails" not in config.scores or not real.labels:
        return None
    n, half = _floor_size(config, len(rows)), len(rows) // 2
    b, a, rest = np.split(np.arange(len(rows)), [n, n + half])
    b = np.concatenate([b, rest])
    labels = {name: label[rows] for name, label in real.labels.items()}
    halves = [({name: label[half] for name, label in labels.items()}) for half in (a, b)]
    return fit_attributes(features[a], halves[0], features[b], halves[1], real.names, device)


def _twin(values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the features of training and unseen images, equally many; None where one of the sets is not given."""
    from bench.metrics.shared.nearest_training import equal_sides

    if "train" not in values or "unseen" not in values:
        return None
    return equal_sides(values["train"], values["unseen"])


def _floor_size(config: MetricsConfig, num_real: int) -> int:
    """Return the N of real images against other real images."""
    return min(config.num_images, num_real // 2)


def _floor(reference: np.ndarray, real: np.ndarray, config: MetricsConfig, device: Any) -> list[dict[str, Any]]:
    """Score real images against other real images.

    Args:
        reference: float32 (N, d), the features that the fake images are scored against.
        real: float32 (M, d), the features of all drawn real images, which begin with `reference`.
        config: Families of scores and their settings.
        device: Where to compute.

    Returns:
        Rows at the same N if M >= 2 N, otherwise at M // 2; none if that is too few for k neighbours.
    """
    from bench import metrics

    n = _floor_size(config, len(real))
    if n <= max(config.k, 2):
        return []
    pair = (real[n : 2 * n], real[:n])
    rows = metrics.score(pair, config, subject="real", reference="real", device=device)
    return metrics.with_resplits(rows, real, config, device)


def _paths(options: argparse.Namespace) -> dict[str, str]:
    """Return the paths of the sets that are given, by name."""
    named = {"real": options.real, "fake": options.fake, "train": options.train, "unseen": options.unseen}
    return {name: path for name, path in named.items() if path is not None}


_SPREAD = "±: standard deviation; of KID over its subsets, of the others over half-samples of the images"
_RESPLITS = "in brackets: where 95 % of other splits of the same real images lie"


def table(result: dict[str, Any]) -> str:
    """Return a text table with one line per score: value, standard deviation if there is one, floor and shuffled
    control."""
    by_subject: dict[str, dict[tuple[str, str], dict[str, Any]]] = {"fake": {}, "real": {}, "shuffled": {}}
    for row in result["rows"]:
        by_subject[row["subject"]][row["metric"], json.dumps(row["parameters"])] = row
    lines = [("score", "", "fake", "±", "floor", "shuffled", "parameters")]
    for key, row in by_subject["fake"].items():
        others = [by_subject[name].get(key) for name in ("real", "shuffled")]
        spread = row.get("image_sd", row.get("subset_sd"))
        parameters = ", ".join(f"{name} = {value}" for name, value in row["parameters"].items())
        lines.append(
            (
                row["metric"],
                {"up": "↑", "down": "↓", "none": ""}[row["direction"]],
                _number(row["value"]),
                "" if spread is None else _number(spread),
                *("" if other is None else _number(other["value"]) + _interval(other) for other in others),
                parameters,
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(7)]
    body = [
        "  ".join(
            cell.ljust(w) if i in (0, 1, 6) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    first = next(iter(by_subject["fake"].values()))
    floor = next(iter(by_subject["real"].values()), None)
    space = result["feature_space"]
    about = f"{space['name']} (weights {space['weights_sha256'][:12]}), N = {first['num_subject']}"
    dimension = next((row["dimension"] for row in by_subject["fake"].values() if "dimension" in row), None)
    if dimension:
        about += f", N/d = {first['num_subject'] / dimension:.2g}"
    if floor is None:
        about += "; no floor: too few real images to split"
    elif floor["num_subject"] != first["num_subject"]:
        about += f"; floor at N = {floor['num_subject']} only: {result['num_real']} real images, split in two"
    notes = [_SPREAD] if any(line[3] for line in lines[1:]) else []
    notes += [_RESPLITS] if any("resplit_low" in row for row in by_subject["real"].values()) else []
    return "\n".join([about, "", *(line.rstrip() for line in body), *notes])


def _interval(row: dict[str, Any]) -> str:
    """Return ` (48.1 to 54.2)` for a floor with an interval, otherwise ""."""
    if "resplit_low" not in row:
        return ""
    return f" ({_number(row['resplit_low'])} to {_number(row['resplit_high'])})"


def _number(value: float) -> str:
    """Return a number with about four significant digits."""
    size = abs(value)
    return (
        f"{value:.1f}"
        if size >= 100
        else f"{value:.2f}"
        if size >= 10
        else f"{value:.3f}"
        if size >= 0.1
        else f"{value:.4f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parse(arguments)
    if "copying" in options.scores and options.train is not None and options.unseen is None:
        log.warning("closer_to_training and near_copy_rate are left out: they need --unseen")
    try:
        result = compare(options)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=1) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
