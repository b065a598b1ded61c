"""Compute every score of one set of images against another, outside any chain: `bench.score`, and the command
`python -m bench.score`.

Each score comes with two controls: real images against real images (the floor, which a perfect generator would reach in
expectation) and both sets shuffled together (the score of two sets that do not differ).
"""

import difflib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench import registry
from bench.config import MetricsConfig, RuntimeConfig
from bench.errors import BenchError, ConfigError, ConfigErrors, DataError, raise_all
from bench.image_sets import Images, ImageSet, check_resolutions, read_set, where
from bench.options import check

log = logging.getLogger(__name__)

SMALL = 96
"""Number of images below which a warning states how uncertain the scores are: the 95 % interval of a share such as
precision is up to ± 0.98 / √N, which is ± 0.10 at this number."""

MISSING = "needs more images, labels of the real images, or the sets train and unseen"
"""Possible reasons why a requested score is missing, for messages."""


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Mapping[str, float]):
    """The scores of the fake images by name, such as `scores["fid"]`. If a score has one value per labelled attribute,
    its names are of the form `class_survival[species]`. Printed, or as the last expression of a notebook cell, the
    object is shown as the command's table.

    result: The dict that `python -m bench.score --json` prints: `rows` in the form of the ledger, and their origin.
    """

    result: dict[str, Any]
    _of_subject: dict[str, dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        by_subject = {subject: _by_name(self.rows, subject) for subject in ("fake", "real", "shuffled")}
        object.__setattr__(self, "_of_subject", by_subject)  # the dataclass is frozen

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dict per score of each subject: `fake`, `real` (the floor) and `shuffled` (the control)."""
        return self.result["rows"]

    @property
    def floor(self) -> dict[str, float]:
        """The same scores of real images against other real images; {} if there are too few real images to split."""
        return dict(self._of_subject["real"])

    @property
    def shuffled(self) -> dict[str, float]:
        """The same scores of both sets shuffled together, the scores of two sets that do not differ."""
        return dict(self._of_subject["shuffled"])

    def __getitem__(self, name: str) -> float:
        values = self._of_subject["fake"]
        if name not in values:
            raise KeyError(f"{name!r}: there are {', '.join(values)}")
        return values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of_subject["fake"])

    def __len__(self) -> int:
        return len(self._of_subject["fake"])

    def __repr__(self) -> str:
        return table(self.result)


def _by_name(rows: Sequence[dict[str, Any]], subject: str) -> dict[str, float]:
    """Return name -> value for one subject. Parameters are part of the name if a metric has several scores."""
    own = [row for row in rows if row["subject"] == subject]
    metrics = [row["metric"] for row in own]
    values = {}
    for row in own:
        several = metrics.count(row["metric"]) > 1
        suffix = f"[{', '.join(map(str, row['parameters'].values()))}]" if several else ""
        values[row["metric"] + suffix] = row["value"]
    return values


def score(
    real: Images,
    fake: Images,
    *,
    train: "Images | None" = None,
    unseen: "Images | None" = None,
    scores: Sequence[str] | None = None,
    feature_space: str = "efficientnet_lite0",
    weights: str | None = None,
    num_images: int | None = None,
    resolution: int | None = None,
    k: int = 3,
    resamples: int = 0,
    resplits: int = 10,
    seed: int = 0,
    device: str = "auto",
) -> Scores:
    """Score one set of images against another, with the numbers of `python -m bench.score --real A --fake B`.

    A set is an array or a tensor, uint8 (N, 3, H, H) or (N, H, H, 3), or the path of a folder of pictures, of an .npy
    or .npz file, or of a stored pool.

    Args:
        real: The reference images.
        fake: The images to score.
        train: Training images of the model that drew the fake images; adds the copying scores.
        unseen: Images from the source of `train` that the model was not trained on; adds `closer_to_training` and
            `near_copy_rate`.
        scores: Families (`frechet`), single scores (`fid`) or user-defined functions (`module:function`); None: all
            that the sets allow.
        feature_space: The name of a file in bench/features, or `module:function`.
        weights: Local file with the weights of the feature extractor; None: the default weights.
        num_images: The number N of images on both sides, drawn at random; None: the size of the smaller set.
        resolution: Pixels per side to which pictures of a folder are cropped and resized; None: not changed.
        k: Number of neighbours of the k-NN scores.
        resamples: Number of half-samples of the images for a standard deviation of each score; 0: none.
        resplits: Number of random splits of the real images for the floor's interval; 0: none.
        seed: The seed of the draws of images.
        device: auto, cpu, cuda or cuda:<index>.

    Raises:
        BenchError: A set or a parameter cannot be used, or none of the requested scores can be computed.
    """
    from bench import metrics
    from bench.features.shared.extraction import feature_space_spec
    from bench.machine.console import Console
    from bench.machine.device import resolve_runtime

    with _in_parameters():
        if seed < 0:
            raise ConfigError("seed", seed, "must be at least 0")
        chosen, wanted = choose(scores)
        device_config = RuntimeConfig(device=device, precision="fp32", compile=False)
        check(device_config, "runtime")
        optional = {"train": train, "unseen": unseen}
        given = {
            "real": real,
            "fake": fake,
            **{name: images for name, images in optional.items() if images is not None},
        }
        sets = {name: read_set(images, resolution) for name, images in given.items()}
        check_resolutions(sets)
        config = MetricsConfig(
            feature_space=feature_space,
            num_images=_num_images(num_images, sets),
            k=k,
            scores=chosen,
            num_resamples=resamples,
            num_resplits=resplits,
            weights=weights,
        )
        check(config, "metrics")
        warn_of_small(config.num_images)
        if "copying" in chosen and train is not None and unseen is None:
            log.warning("closer_to_training and near_copy_rate are left out: they need unseen images (--unseen)")
        order = _draws(config, sets, seed)
        console = Console()
        runtime = resolve_runtime(device_config)
        values = _features(config, sets, order, runtime, console)
        reference = values["real"][: config.num_images]
        with console.stage("score"):
            rows = metrics.score_with_controls(
                (values["fake"], reference),
                config,
                _floor(reference, values["real"], config, runtime.device),
                subject="fake",
                reference="real",
                items=_items(config, sets, order),
                training=values.get("train"),
                twin=_twin(values),
                attributes=_attributes(config, sets["real"], values["real"], order["real"], runtime.device),
                device=runtime.device,
            )
        rows = [row for row in rows if wanted is None or wanted(row["metric"])]
        _refuse_missing(scores, rows)
    return Scores(
        {
            **{name: where(images) for name, images in given.items()},
            "feature_space": feature_space_spec(config.feature_space, config.weights),
            "num_real": len(sets["real"].images),
            "num_fake": len(sets["fake"].images),
            "seed": seed,
            "rows": rows,
        }
    )


def families() -> dict[str, tuple[str, ...]]:
    """Return family -> the names of its scores, for all families that score images and need nothing from a chain."""
    from bench.metrics import kinds_of

    loaded = {name: registry.load(registry.SCORES, name, "scores") for name in registry.names(registry.SCORES)}
    return {
        name: tuple(getattr(module, "METRICS", ()))
        for name, module in loaded.items()
        if not {"model", "first_model", "past"} & set(module.NEEDS) and "images" in kinds_of(module)
    }


def choose(scores: Sequence[str] | None) -> tuple[list[str], Callable[[str], bool] | None]:
    """Return the families to compute, and a function of a score's name that says whether to keep it (None: keep all).

    scores: Families, single scores, or `module:function`; None: all families. Raises `ConfigError` for other names.
    """
    known = families()
    if scores is None:
        return list(known), None
    if isinstance(scores, str) or not scores:
        raise ConfigError("scores", scores, "must be a list of at least one name")
    chosen: dict[str, None] = {}
    kept: set[str] = set()
    for name in scores:
        found = [name] if name in known or ":" in name else [f for f, own in known.items() if name in own]
        if not found:
            every = [*known, *(metric for own in known.values() for metric in own)]
            near = difflib.get_close_matches(name, every, n=3)
            allowed = f"did you mean {' or '.join(near)}?" if near else f"must be one of {', '.join(every)}"
            raise ConfigError("scores", name, f"{allowed}; a function of your own is module:function")
        chosen |= dict.fromkeys(found)
        kept |= {name} if name not in known else set(known[name])
    others = {metric for own in known.values() for metric in own} - kept
    return list(chosen), lambda metric: metric not in others


def _refuse_missing(scores: Sequence[str] | None, rows: Sequence[dict[str, Any]]) -> None:
    """Warn of every requested score that could not be computed. Raises `ConfigError` if there are no scores at all."""
    there = {row["metric"] for row in rows if row["subject"] == "fake"}
    if not there:
        raise ConfigError("scores", " ".join(scores or ()), f"none can be computed from these sets: {MISSING}")
    known = families()
    for name in scores or ():
        if ":" not in name and not there & set(known.get(name, [name])):
            log.warning("%s is left out: it %s", name, MISSING)


def warn_of_small(n: int) -> None:
    """Warn if the number of scored images n is below `SMALL`."""
    if n < SMALL:
        log.warning(
            "N = %d images on each side: a share such as precision has a 95 %% interval of up to ± %.2f, and "
            "distances such as FID scatter as well; with %d images it is ± 0.10",
            n, min(0.98 / n**0.5, 1), SMALL,
        )  # fmt: skip


PARAMETER = {"num_resamples": "resamples", "num_resplits": "resplits"}
"""Key of `MetricsConfig` -> the parameter of `score`, where the names differ."""


@contextmanager
def _in_parameters() -> Iterator[None]:
    """Rewrite the errors raised in the body of the `with`: name the parameters of `score` instead of keys of a
    configuration that the caller never wrote."""

    def plain(text: str) -> str:
        text = re.sub(r"\bdata\.path=", "", text)
        return re.sub(r"\b(?:metrics|runtime)\.(\w+)", lambda key: PARAMETER.get(key[1], key[1]), text)

    try:
        yield
    except ConfigError as error:
        every = error.errors if isinstance(error, ConfigErrors) else (error,)
        raise_all(ConfigError(plain(one.key), one.value, plain(one.allowed)) for one in every)
    except BenchError as error:
        raise type(error)(plain(str(error))) from error


def _num_images(asked: int | None, sets: Mapping[str, ImageSet]) -> int:
    """Return N. asked: The requested N; None: the size of the smaller set. Raises `DataError` if a set has fewer than 2
    images, and `ConfigError` if a set has fewer images than requested."""
    real, fake = len(sets["real"].images), len(sets["fake"].images)
    most = min(real, fake)
    if most < 2:
        raise DataError(f"there are {real} real and {fake} fake images: scores need at least 2 of each")
    if asked is not None and not 2 <= asked <= most:
        raise ConfigError(
            "num_images", asked, f"there are {real} real and {fake} fake images, so it must lie in [2, {most}]"
        )
    return most if asked is None else asked


def _draws(config: MetricsConfig, sets: dict[str, ImageSet], seed: int) -> dict[str, np.ndarray]:
    """Return name of a set -> the rows that are used, int64 (n,), in random order: N of the fake images, and 2 N of the
    real images, because the floor compares two sets, or all real images if classifiers are fitted. Of the other sets,
    all rows are used."""
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
        config: The feature space and its weights.
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


def _items(
    config: MetricsConfig, sets: Mapping[str, ImageSet], order: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the drawn images of both sides, uint8 (N, 3, H, H) each; None if no family needs them."""
    from bench import metrics

    if "items" not in metrics.needs(config):
        return None
    return sets["fake"].images[order["fake"]], sets["real"].images[order["real"][: config.num_images]]


def _attributes(
    config: MetricsConfig, real: ImageSet, features: np.ndarray, rows: np.ndarray, device: Any
) -> dict[str, Any] | None:
    """Fit the classifiers of every labelled attribute on one half of the real images, and test them on the other half.

    The first N images, which are the reference, are in the half for testing. The images of the floor's other side come
    first in the half for fitting, so that `Attribute.predict` knows which model has not seen which images.

    Args:
        config: Which families of scores are computed.
        real: The real images with their labels.
        features: float32 (n, d), the features of the drawn real images.
        rows: int64 (n,), the rows of the drawn real images.
        device: The device to fit on.

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
    """Return the features of equally many training and unseen images; None if one of the two sets is not given."""
    from bench.metrics.shared.nearest_training import equal_sides

    if "train" not in values or "unseen" not in values:
        return None
    return equal_sides(values["train"], values["unseen"])


def _floor_size(config: MetricsConfig, num_real: int) -> int:
    """Return the number of real images on each side of the floor."""
    return min(config.num_images, num_real // 2)


def _floor(reference: np.ndarray, real: np.ndarray, config: MetricsConfig, device: Any) -> list[dict[str, Any]]:
    """Score real images against other real images.

    Args:
        reference: float32 (N, d), the features that the fake images are scored against.
        real: float32 (M, d), the features of all drawn real images, which begin with `reference`.
        config: The score families and their settings.
        device: The device to compute on.

    Returns:
        Rows for N images on each side if M >= 2 N, otherwise for M // 2; no rows if that is too few for k neighbours.
    """
    from bench import metrics

    n = _floor_size(config, len(real))
    if n <= max(config.k, 2):
        return []
    pair = (real[n : 2 * n], real[:n])
    rows = metrics.score(pair, config, subject="real", reference="real", device=device)
    return metrics.with_resplits(rows, real, config, device)


_SPREAD = "±: standard deviation; of KID over its subsets, of the others over half-samples of the images"
_RESPLITS = "in brackets: where 95 % of other splits of the same real images lie"


def table(result: dict[str, Any]) -> str:
    """Return a text table with one line per score: value, standard deviation if there is one, floor, shuffled control
    and parameters."""
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
