import numpy as np
import pytest
import torch
import torch.multiprocessing as processes
import torchmetrics
from scoring import fit_attributes, score
from torchmetrics import MetricCollection
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from bench import torchmetrics_wrappers as modular
from bench.config import MetricsConfig, RuntimeConfig
from bench.errors import MetricError
from bench.features.shared.extraction import FeatureSpace, extract, load_feature_space
from bench.machine.device import resolve_runtime
from bench.metrics.kernel import Config as KernelConfig
from bench.metrics.shared.class_survival import tail_scores
from bench.metrics.shared.frechet_distance import frechet_distance, frechet_infinity
from bench.metrics.shared.kernel_distance import kernel_distance
from bench.metrics.shared.nearest_training import copying_scores
from bench.metrics.shared.precision_recall import manifold_scores
from bench.metrics.shared.variety import entropy_estimate, near_duplicate_rate, vendi_score


def sets(n: int = 64, d: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = ("subject", "reference", "training", "unseen")
    return {name: rng.gamma(2, 1 + i / 4, (n, d)).astype(np.float32) for i, name in enumerate(names)}


def attribute():
    data = sets()
    labels = {"size": (data["reference"][:, 0] > 2).astype(np.int64) + (data["reference"][:, 0] > 4)}
    names = {"size": ["s", "m", "l"]}
    return fit_attributes(data["reference"], labels, data["reference"], labels, names)["size"]


def every_metric() -> dict[str, modular.FeatureMetric]:
    return {
        "frechet": modular.FrechetDistance(),
        "infinity": modular.FrechetInfinity(),
        "kernel": modular.KernelDistance(num_subsets=5, subset_size=20),
        "manifold": modular.ManifoldScores(k=2),
        "vendi": modular.VendiScore(),
        "entropy": modular.EntropyEstimate(k=4),
        "duplicates": modular.NearDuplicateRate(),
        "copying": modular.CopyingScores(),
        "tails": modular.TailScores(attribute()),
    }


def directly() -> dict[str, float]:
    data = sets()
    s, r, t, u = data.values()
    kernel = kernel_distance(s, r, 5, 20)
    manifold, copying = manifold_scores(s, r, 2), copying_scores(s, r, t, twin=(t, u))
    tails = tail_scores(attribute().predict(s), attribute())
    return {
        "frechet": frechet_distance(s, r),
        "infinity": frechet_infinity(s, r),
        "kernel/mean": kernel.mean,
        "kernel/sd": kernel.sd,
        **{f"manifold/{name}": value for name, value in vars(manifold).items()},
        "vendi": vendi_score(s),
        "entropy": entropy_estimate(s, 4),
        "duplicates": near_duplicate_rate(s, r),
        **{f"copying/{name}": value for name, value in vars(copying).items() if not name.startswith("num_")},
        **{
            f"tails/{name}": getattr(tails, name)
            for name in ("survival", "tail_survival", "head_survival", "divergence")
            if getattr(tails, name) is not None
        },
    }


def computed(metrics: dict[str, modular.FeatureMetric]) -> dict[str, float]:
    result = {}
    for name, metric in metrics.items():
        value = metric.compute()
        values = value if isinstance(value, dict) else {None: value}
        result |= {f"{name}/{key}" if key else name: float(v) for key, v in values.items()}
    return result


def feed(metrics: dict[str, modular.FeatureMetric], rows: slice, batch: int) -> None:
    for role, features in sets().items():
        for metric in metrics.values():
            if role in metric.roles:
                for part in torch.from_numpy(features[rows]).split(batch):
                    metric.update(part, role)


@pytest.mark.parametrize("batch", [64, 7])
def test_equal_to_the_direct_functions_for_any_batches(batch):
    metrics = every_metric()
    feed(metrics, slice(None), batch)
    assert computed(metrics) == pytest.approx(directly(), rel=1e-9)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_reset_forgets():
    metrics = every_metric()
    feed(metrics, slice(0, 30), 10)
    for metric in metrics.values():
        metric.reset()
        with pytest.raises(MetricError, match="no subject yet"):
            metric.compute()
    feed(metrics, slice(None), 64)
    assert computed(metrics) == pytest.approx(directly(), rel=1e-9)


class Corners(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, ::4, ::4].flatten(1).float()


def corners() -> FeatureSpace:
    return FeatureSpace("corners", 12, 8, "", 1, Corners(), torch.device("cpu"))


def pictures() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (64, 3, 8, 8), dtype=np.uint8)


def worker(rank: int, port: int, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metrics = every_metric()
    feed(metrics, slice(0, 40) if rank == 0 else slice(40, 64), 9)  # unequal shares
    images = modular.VendiScore(corners())
    images.update(torch.from_numpy(pictures()[:40] if rank == 0 else pictures()[40:]))
    torch.save({**computed(metrics), "images": float(images.compute())}, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.spawn(worker, (port, str(tmp_path)), nprocs=2)
    for rank in range(2):
        values = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert values.pop("images") == pytest.approx(vendi_score(extract(corners(), pictures())), rel=1e-9)
        assert values == pytest.approx(directly(), rel=1e-9)


def test_images_go_through_the_feature_space():
    space = load_feature_space("efficientnet_lite0", resolve_runtime(RuntimeConfig(device="cpu")))
    images = np.random.default_rng(1).integers(0, 256, (12, 3, 16, 16), dtype=np.uint8)
    metric = modular.VendiScore(space)
    for part in torch.from_numpy(images).split(5):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(vendi_score(extract(space, images)), rel=1e-9)


def test_copying_without_unseen_items_has_the_scores_that_need_none():
    metric, data = modular.CopyingScores(), sets()
    for role in ("subject", "reference", "training"):
        metric.update(torch.from_numpy(data[role]), role)
    assert metric.compute().keys() == {"nn_distance_training", "nn_distance_heldout", "authenticity"}


def test_in_a_collection():
    data = sets()
    both = MetricCollection({"fid": modular.FrechetDistance(), "prdc": modular.ManifoldScores()}, compute_groups=False)
    for role in ("subject", "reference"):
        both.update(torch.from_numpy(data[role]), role)
    values = both.compute()
    assert float(values["fid"]) == pytest.approx(frechet_distance(data["subject"], data["reference"]))
    assert float(values["recall"]) == manifold_scores(data["subject"], data["reference"], 3).recall


def test_wrong_batches_are_refused():
    metric = modular.FrechetDistance()
    with pytest.raises(MetricError, match="no feature space"):
        metric.update(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(MetricError, match="int64"):
        metric.update(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(MetricError, match="role 'fake'"):
        metric.update(torch.zeros(2, 3), "fake")


def test_which_way_is_better_is_what_the_rows_say():
    data = sets()
    labels = {"kind": (data["reference"][:, 0] > 2).astype(np.int64)}
    attributes = fit_attributes(data["reference"], labels, data["reference"], labels, {"kind": ["a", "b"]})
    rows = score(
        data["subject"],
        data["reference"],
        MetricsConfig(num_images=64),
        training=data["training"],
        attributes=attributes,
    )
    direction = {row["metric"]: row["direction"] for row in rows}
    for metric, name in (
        (modular.FrechetDistance, "fid"),
        (modular.FrechetInfinity, "fid_infinity"),
        (modular.KernelDistance, "kid"),
        (modular.ManifoldScores, "precision"),
        (modular.VendiScore, "vendi"),
        (modular.EntropyEstimate, "entropy"),
        (modular.NearDuplicateRate, "near_duplicate_rate"),
    ):
        assert metric.higher_is_better == {"up": True, "down": False, "none": None}[direction[name]], name


def test_settings_left_out_are_those_of_the_ledger():
    config, options = MetricsConfig(), KernelConfig()
    assert modular.ManifoldScores().k == modular.EntropyEstimate().k == config.k
    kernel = modular.KernelDistance()
    assert (kernel.num_subsets, kernel.subset_size) == (options.num_subsets, options.subset_size)


# ---- what users of torchmetrics' own classes pass


class OwnNetwork(Corners):
    num_features = 12


def own_classes() -> list[tuple[torchmetrics.Metric, modular.FeatureMetric, float]]:
    """Return torchmetrics' class, ours with the same arguments, and how closely they agree."""
    shared = {"normalize": True, "reset_real_features": False}
    kernel = {"subsets": 3, "subset_size": 64, **shared}  # a subset of all: nothing is drawn
    return [
        (FrechetInceptionDistance(OwnNetwork(), input_img_size=(3, 8, 8), **shared),
         modular.FrechetDistance(corners(), **shared), 1e-3),
        (KernelInceptionDistance(OwnNetwork(), **kernel), modular.KernelDistance(corners(), **kernel), 1e-3),
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Metric `KernelInceptionDistance`:UserWarning")
def test_the_calls_of_torchmetrics_own_classes_mean_the_same_here():
    real, fake, other = (torch.from_numpy(pictures()[rows] / np.float32(255)) for rows in (
        slice(None), slice(None, None, -1), slice(None)))  # fmt: skip
    fake, other = fake * 0.75, other * 0.5
    for theirs, ours, tolerance in own_classes():
        custom = lambda images: (images * 255).byte()  # noqa: E731  their own networks get what they are given
        for metric, change in ((theirs, custom), (ours, lambda images: images)):
            for images in real.split(24):
                metric.update(change(images), real=True)
            for images in fake.split(40):
                metric.update(change(images), real=False)
        assert first(ours.compute()) == pytest.approx(first(theirs.compute()), rel=tolerance)
        for metric, change in ((theirs, custom), (ours, lambda images: images)):
            metric.reset()
            metric.update(change(other), False)  # by position; the real images are still there
        assert first(ours.compute()) == pytest.approx(first(theirs.compute()), rel=tolerance)
        ours.reset_real_features = True
        ours.reset()
        ours.update(other, real=False)
        with pytest.raises(MetricError, match="no reference yet"):
            ours.compute()


def first(result) -> float:
    """Return the one value, or the first of several."""
    values = list(result.values()) if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
    return float(values[0])


def test_real_is_the_reference():
    data = {name: torch.from_numpy(features) for name, features in sets().items()}
    by_role, by_real = modular.ManifoldScores(), modular.ManifoldScores()
    by_role.update(data["subject"])
    by_role.update(data["reference"], "reference")
    by_real.update(data["reference"], real=True)
    by_real.update(data["subject"], real=False)
    assert by_role.compute() == by_real.compute()
    assert by_real.compute()["precision"] != by_real.compute()["recall"]


def test_forward_is_update_and_compute():
    data = {name: torch.from_numpy(features) for name, features in sets().items()}
    metric = modular.VendiScore()
    assert float(metric(data["subject"], real=False)) == pytest.approx(vendi_score(sets()["subject"]))


def test_forward_does_not_count_kept_real_images_twice():
    data = {name: torch.from_numpy(features) for name, features in sets().items()}
    metric = modular.ManifoldScores(reset_real_features=False)
    metric.update(data["reference"], real=True)
    alone = metric(data["subject"], real=False)
    assert alone == metric.compute()
    assert sum(map(len, metric.reference)) == len(data["reference"])


def test_images_in_0_1_are_those_of_0_255():
    whole, float_ = modular.VendiScore(corners()), modular.VendiScore(corners(), normalize=True)
    images = torch.from_numpy(pictures())
    whole.update(images)
    float_.update((images + 0.5) / 255.5)
    assert float(whole.compute()) == float(float_.compute())


@pytest.mark.parametrize(
    ("settings", "batch", "how", "message"),
    [
        ({}, torch.rand(2, 3, 8, 8), {}, "normalize=True takes images that are float"),
        ({"normalize": True}, torch.rand(2, 3, 8, 8) * 255, {}, r"must lie in \[0, 1\]"),
        ({"normalize": True}, torch.full((2, 3, 8, 8), torch.nan), {}, r"must lie in \[0, 1\]"),
        ({"normalize": True}, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), {}, "must be float"),
        ({}, torch.zeros(2, 12), {"role": "subject", "real": True}, "give one of them"),
        ({}, torch.zeros(2, 12), {"role": True, "real": False}, "given twice"),
    ],
)
def test_what_torchmetrics_would_misread_is_refused(settings, batch, how, message):
    with pytest.raises(MetricError, match=message):
        modular.FrechetDistance(corners(), **settings).update(batch, **how)


def test_a_score_without_a_reference_takes_no_real_images():
    with pytest.raises(MetricError, match=r"'reference' \(real=True\): the roles of VendiScore are subject"):
        modular.VendiScore().update(torch.zeros(2, 3), real=True)


def test_in_a_collection_by_real():
    collection = MetricCollection({"fid": modular.FrechetDistance(), "kid": modular.KernelDistance(subset_size=20)})
    data = sets()
    for name, real in (("reference", True), ("subject", False)):
        for part in torch.from_numpy(data[name]).split(20):
            collection.update(part, real=real)
    values = collection.compute()
    assert float(values["fid"]) == pytest.approx(frechet_distance(data["subject"], data["reference"]))
    assert float(values["mean"]) == pytest.approx(kernel_distance(data["subject"], data["reference"], 100, 20).mean)


@pytest.mark.parametrize("space", [2048, torch.nn.Identity()])
def test_what_is_no_feature_space_is_refused(space):
    with pytest.raises(MetricError, match="inception_v3 has the 2048 features of torchmetrics"):
        modular.FrechetDistance(space)


def test_a_space_by_its_name():
    metric = modular.VendiScore("pixels")
    metric.update(torch.from_numpy(pictures()))
    assert metric.space.name == "pixels" and float(metric.compute()) > 1
