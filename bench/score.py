"""python -m bench.score --real A --fake B: every score of one set of images against another, outside any chain.

A and B are folders of pictures, NumPy arrays (.npy, or .npz with `images`) or stored pools. A table on stdout, or JSON
with --json; progress on stderr. Beside each score stand two controls: real against real (the floor: what a perfect
generator would get) and both sets shuffled together (what the score says when there is nothing to say).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import FEATURE_SPACES, SCORE_FAMILIES, FolderConfig, MetricsConfig, RuntimeConfig
from bench.errors import BenchError, DataError


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.score", description=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--real", required=True, metavar="A", help="reference images: folder, .npy, .npz or stored pool")
    add("--fake", required=True, metavar="B", help="images to score: the same kinds")
    add("--train", metavar="C", help="what the fakes' model was trained on: adds the copying scores")
    add("--feature-space", default="efficientnet_lite0", metavar="SPACE",
        help=f"{', '.join(FEATURE_SPACES)}, or module:function (default: %(default)s)")  # fmt: skip
    add("--weights", metavar="FILE", help="local file with the feature extractor's weights")
    add(
        "--num-images", type=int, metavar="N", help="images on each side, drawn at random (default: all of the smaller)"
    )
    add("--resolution", type=int, metavar="PX",
        help="crop pictures of a folder to squares and resize them to PX (default: as they are)")  # fmt: skip
    add("--scores", nargs="+", default=list(SCORE_FAMILIES), choices=SCORE_FAMILIES, metavar="FAMILY",
        help=f"of {', '.join(SCORE_FAMILIES)} (default: all that can be had)")  # fmt: skip
    add("--k", type=int, default=3, help="neighbours of the k-NN scores (default: %(default)s)")
    add("--resamples", type=int, default=0, metavar="M",
        help="half-samples of the images for a standard deviation beside each score (default: none)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the draws of images (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (default: %(default)s)")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """images: uint8 (N, 3, H, H). labels: attribute -> int64 (N,), -1 for "not labelled"; names: of their classes."""

    images: np.ndarray
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)


def read_images(path: str, resolution: int | None = None) -> ImageSet:
    """Return the images at `path`, of any kind that this command takes, resized only if `resolution` is given.

    Raises `DataError` for what is missing, unreadable or of another kind, and for a folder whose pictures are not
    squares of one size when no `resolution` is given.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{path} does not exist")
    if place.is_dir():
        return _pool(place) if (place / "pool.json").exists() else _folder(path, resolution)
    if place.suffix in (".npy", ".npz"):
        return _array(place)
    raise DataError(f"{path}: neither a folder nor an .npy or .npz file")


def _pool(place: Path) -> ImageSet:
    from bench.pool import Pool

    pool = Pool.load(place)
    return ImageSet(pool.images, pool.records.labels, pool.label_names)


def _folder(path: str, resolution: int | None) -> ImageSet:
    from PIL import Image

    from bench.datasets.folder import find_pictures, open_source
    from bench.datasets.shared.pictures import read_pictures

    config = FolderConfig(path=path)
    _, paths = find_pictures(config)
    if resolution is None:
        sizes: dict[tuple[int, int], Path] = {}
        for picture in paths:
            try:
                with Image.open(picture) as opened:
                    sizes.setdefault(opened.size, picture)
            except OSError as error:
                raise DataError(f"{picture} is not a readable picture: {error}") from error
        (width, height), *others = sizes
        if others or width != height:
            seen = ", ".join(f"{w} x {h} ({p.name})" for (w, h), p in list(sizes.items())[:3])
            raise DataError(f"{path}: pictures are not squares of one size: {seen}; give --resolution")
        resolution = width
    source = open_source(config)
    return ImageSet(read_pictures(paths, resolution)[0], source.labels, source.label_names)


def _array(place: Path) -> ImageSet:
    from bench.pool import check_images

    labels: dict[str, np.ndarray] = {}
    names: dict[str, list[str]] = {}
    try:
        loaded = np.load(place, mmap_mode="r" if place.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            images = loaded
        else:
            with loaded:
                key = "images" if "images" in loaded else loaded.files[0]
                images = loaded[key]
                if "labels" in loaded and loaded["labels"].ndim == 1:
                    labels["class"] = loaded["labels"].astype(np.int64)
                    known = loaded["class_names"].tolist() if "class_names" in loaded else []
                    names["class"] = [str(name) for name in known] or [
                        str(i) for i in range(int(labels["class"].max()) + 1)
                    ]
    except (OSError, ValueError, IndexError, EOFError) as error:
        raise DataError(f"{place} cannot be read as an array of images: {error}") from error
    if images.ndim == 4 and images.shape[-1] == 3 and images.shape[1] != 3:
        images = images.transpose(0, 3, 1, 2)
    try:
        check_images(images)
    except DataError as error:
        raise DataError(f"{place}: {error}, or (N, H, H, 3)") from error
    return ImageSet(images, labels, names)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Read, extract and score. Return the result that --json prints: `rows` in the ledger's form, and their origin."""
    from bench.features.shared.extraction import extract, feature_space_spec, load_feature_space
    from bench.machine.console import Console
    from bench.machine.device import resolve
    from bench.metrics import scores

    sets = {name: read_images(path, options.resolution) for name, path in _paths(options).items()}
    _check_resolutions(sets)
    real, fake = sets["real"], sets["fake"]
    smaller = min(len(real.images), len(fake.images))
    n = smaller if options.num_images is None else options.num_images
    if not 2 <= n <= smaller:
        raise DataError(
            f"--num-images={n}: there are {len(real.images)} real and {len(fake.images)} fake images; "
            f"allowed is 2 to {smaller}"
        )
    config = MetricsConfig(
        feature_space=options.feature_space,
        num_images=n,
        k=options.k,
        scores=options.scores,
        num_resamples=options.resamples,
        weights=options.weights,
    )
    console = Console()
    runtime = resolve(RuntimeConfig(device=options.device, precision="fp32", compile=False))
    space = load_feature_space(config.feature_space, runtime, config.weights)
    rng = np.random.default_rng(options.seed)
    order = {name: rng.permutation(len(images.images)) for name, images in sets.items()}
    order["fake"] = order["fake"][:n]
    if not ("tails" in config.scores and real.labels):  # a classifier learns from all that there is
        order["real"] = order["real"][: 2 * n]
    values: dict[str, np.ndarray] = {}
    for name, images in sets.items():
        with console.stage(f"features of {name} images", unit="images") as progress:
            values[name] = extract(space, images.images, progress, order[name])

    reference, subject = values["real"][:n], values["fake"]
    device = runtime.device
    with console.stage("score"):
        attributes = None
        if "tails" in config.scores and real.labels:
            a, b = np.array_split(np.arange(len(order["real"])), 2)
            labels = {name: label[order["real"]] for name, label in real.labels.items()}
            attributes = scores.fit_attributes(
                values["real"][a],
                {name: label[a] for name, label in labels.items()},
                values["real"][b],
                {name: label[b] for name, label in labels.items()},
                real.names,
                device,
            )
        rows = scores.score_with_controls(
            subject,
            reference,
            config,
            _floor(reference, values["real"], config, device),
            subject="fake",
            reference="real",
            training=values.get("train"),
            attributes=attributes,
            device=device,
        )
    return {
        **_paths(options),
        "feature_space": feature_space_spec(config.feature_space, config.weights),
        "num_real": len(real.images),
        "num_fake": len(fake.images),
        "seed": options.seed,
        "rows": rows,
    }


def _check_resolutions(sets: dict[str, ImageSet]) -> None:
    """Refuse sets of two resolutions: a feature extractor enlarges, and so blurs, one more than the other."""
    sides = {name: images.images.shape[-1] for name, images in sets.items()}
    if len(set(sides.values())) > 1:
        seen = ", ".join(f"--{name} {side} px" for name, side in sides.items())
        raise DataError(
            f"the sets differ in resolution: {seen}; give --resolution {min(sides.values())}, which resizes the "
            "pictures of folders, or resize arrays and pools beforehand"
        )


def _floor(reference: np.ndarray, real: np.ndarray, config: MetricsConfig, device: Any) -> list[dict[str, Any]]:
    """Score real images against real, at the same N where there are 2 N real images, else in halves."""
    from bench.metrics import scores

    n = min(len(reference), len(real) // 2)
    if n <= max(config.k, 2):
        return []
    families = (*scores.COMPARISONS, "diversity")
    return scores.score(
        real[n : 2 * n], real[:n], config, subject="real", reference="real", families=families, device=device
    )


def _paths(options: argparse.Namespace) -> dict[str, str]:
    named = {"real": options.real, "fake": options.fake, "train": options.train}
    return {name: path for name, path in named.items() if path is not None}


_SPREAD = "±: standard deviation; of KID over its subsets, of the others over half-samples of the images"


def table(result: dict[str, Any]) -> str:
    """Return one line per score: value, standard deviation where there is one, floor and shuffled control."""
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
                "↓" if row["direction"] == "down" else "↑",
                _number(row["value"]),
                "" if spread is None else _number(spread),
                *("" if other is None else _number(other["value"]) for other in others),
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
    if floor is None:
        about += "; no floor: too few real images to split"
    elif floor["num_subject"] != first["num_subject"]:
        about += f"; floor at N = {floor['num_subject']} only: {result['num_real']} real images, split in two"
    notes = [_SPREAD] if any(line[3] for line in lines[1:]) else []
    return "\n".join([about, "", *(line.rstrip() for line in body), *notes])


def _number(value: float) -> str:
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
    options = parse(arguments)
    try:
        result = compare(options)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=1) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
