"""The sampling rows: both sides evaluate the network equally often, and quality is judged before time is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from bench.perf import counting, sampling
from bench.perf.machine import Machine
from bench.runtime import Runtime

CPU = Runtime(torch.device("cpu"), None, False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> sampling.Trained:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield sampling.train(tmp_path_factory.mktemp("perf"), CPU, num_steps=3)
    torch.set_num_threads(before)


def test_equal_network_evaluations(trained: sampling.Trained, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    forward = UNet2DModel.forward

    def counted(self, sample, *arguments, **named):
        sizes.append(len(sample))
        return forward(self, sample, *arguments, **named)

    monkeypatch.setattr(UNet2DModel, "forward", counted)
    for work in (sampling.our_sampling(trained, 64), sampling.ddim_sampling(trained, 64, sampling.BATCH)):
        work()
        assert sizes == [sampling.BATCH] * (2 * trained.config.sampling.num_steps)
        sizes.clear()


def test_a_row(trained: sampling.Trained, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counting, "measured_machine", lambda kind: Machine("here", 2, "2", {"float32": 100.0}, 10.0))
    row = sampling.at_equal_steps(trained, num_images=32, num_pairs=1)
    steps = trained.config.sampling.num_steps
    assert row.notes["network_evaluations"] == steps
    assert row.notes["limits"]["seconds"] == pytest.approx(row.ours[0] * sampling.BATCH / steps)
    assert len(row.ours) == len(row.theirs) == 1 and min(row.ours) > 0 and row.target == 1.7


def test_samples_depend_on_what_was_asked_for(trained: sampling.Trained):
    seeds = np.arange(2)
    first = trained.sample(seeds, num_steps=4)
    assert first.shape == (2, 3, 16, 16) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, trained.sample(seeds, num_steps=4))
    assert not np.array_equal(first, trained.sample(seeds, num_steps=4, sampler="ddim"))


class Table(sampling.Judge):
    """Distances from a table: ancestral sampling first, then those of each rung."""

    def __init__(self, distances: list[float]) -> None:
        self.distances = iter(distances)
        self.floor = 1.0

    def distance(self, images: np.ndarray) -> float:
        return next(self.distances)


@pytest.mark.parametrize(
    ("distances", "reached", "num_steps"),
    [([100, 130, 101.9], True, 3), ([100, 130, 110], False, 3), ([100, 101, 110], True, 2)],
)
def test_the_first_rung_that_is_as_good_is_timed(
    trained: sampling.Trained, tmp_path: Path, monkeypatch, distances: list[float], reached: bool, num_steps: int
):
    monkeypatch.setattr(sampling, "LADDER", [("dpmsolver++", 2), ("dpmsolver++", 3)])
    monkeypatch.setattr(sampling, "NUM_SEEDS", 1)
    monkeypatch.setattr(sampling, "Judge", lambda *_: Table(distances))
    monkeypatch.setattr(sampling, "precision_beside_seeds", lambda *_: {})
    monkeypatch.setattr(sampling, "limits", lambda *_: {})
    monkeypatch.setattr(sampling, "ANCESTRAL_STEPS", 4)
    row = sampling.to_equal_quality(trained, tmp_path, num_images=32)
    assert (row.notes["reached"], row.notes["num_steps"]) == (reached, num_steps)
    assert (row.target is None) == (not reached)  # a time to a quality that was not reached is no time
