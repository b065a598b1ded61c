"""Draws of a step: every image once per epoch, and the same bytes wherever the images are kept."""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import device_tests
import numpy as np
import pytest
import torch
from configs import DDPMConfig, TrainingConfig

from bench import generators
from bench.composition import Composition, Part, PoolRef
from bench.generators.ddpm.process import build_process
from bench.generators.ddpm.settings import NoiseConfig
from bench.generators.shared import batches
from bench.generators.shared.batches import RESIDENT_SHARE, OnDevice
from bench.generators.shared.noisy_batches import NoisyBatches
from bench.kinds import Items
from bench.machine.device import Runtime, free_memory
from bench.pool import Gathered, Pool, Records

Make = Callable[..., DDPMConfig]

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param(
        device_tests.KIND,
        marks=device_tests.marks,
    ),
]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a device with no memory left, so that images are streamed."""
    monkeypatch.setattr(batches, "free_memory", lambda device: 0)


def drawn(images: Items, training: TrainingConfig, steps: range, device: str = "cpu") -> list[bytes]:
    """Return items, noise and timesteps of each step."""
    source = NoisyBatches(images, training, 5, torch.device(device), torch.device(device))
    return [b"".join(part.cpu().numpy().tobytes() for part in source.draw(step)) for step in steps]


@pytest.fixture
def forms(images: np.ndarray, tmp_path: Path) -> dict[str, Items]:
    """Return the same 20 images in memory, on disk, and as rows of two pools on disk."""
    np.save(tmp_path / "whole.npy", images)
    order = np.random.default_rng(3).permutation(20)
    np.save(tmp_path / "a.npy", images[order[:12]])
    np.save(tmp_path / "b.npy", images[order[12:]])
    a, b = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "ab")
    back = np.argsort(order)
    parts = [((a, row) if row < 12 else (b, row - 12)) for row in back]
    return {
        "memory": images,
        "mapped": np.load(tmp_path / "whole.npy", mmap_mode="r"),
        "gathered": Gathered([(pool, np.array([row])) for pool, row in parts]),
    }


def test_every_image_once_per_epoch(images: np.ndarray) -> None:
    order = batches.Order(20, TrainingConfig(batch_size=8), 0, CPU)
    rows = torch.cat([order.rows(step) for step in range(5)])  # 40 rows: two epochs of 20, two batches straddling
    assert sorted(rows[:20].tolist()) == sorted(rows[20:].tolist()) == list(range(20))
    assert rows[:20].tolist() != rows[20:].tolist()
    few = batches.Order(3, TrainingConfig(batch_size=8), 0, CPU)
    assert sorted(few.rows(0)[:6].tolist()) == [0, 0, 1, 1, 2, 2]


def test_scaled_and_flipped(images: np.ndarray) -> None:
    scaled = torch.from_numpy(images).float() / 127.5 - 1
    for flip in (False, True):
        training = TrainingConfig(batch_size=64, horizontal_flip=flip)
        x0, eps, u = NoisyBatches(images, training, 0, CPU, CPU).draw(3)
        plain = scaled[batches.Order(20, training, 0, CPU).rows(3)]
        is_plain = (x0 == plain).flatten(1).all(1)
        is_flipped = (x0 == plain.flip(-1)).flatten(1).all(1)
        assert (is_plain | is_flipped).all()
        assert is_flipped.any() == flip and is_plain.any()
        assert eps.shape == x0.shape and u.min() >= 0 and u.max() <= 1


@pytest.mark.parametrize("batch_size", [1, 8, 48])
@pytest.mark.parametrize("num_timesteps", [7, 1000])
def test_timesteps_are_spread_over_all_and_never_beyond(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch, batch_size: int, num_timesteps: int
) -> None:
    source = NoisyBatches(images, TrainingConfig(batch_size=batch_size, horizontal_flip=False), 0, CPU, CPU)
    process = build_process(NoiseConfig(num_timesteps=num_timesteps), CPU)
    drawn = torch.stack([process.times(source.draw(step)[2]) for step in range(200)])
    assert drawn.dtype == torch.int64
    if batch_size == 48:
        shares = torch.bincount(drawn.flatten(), minlength=num_timesteps)[:7].double() / drawn.numel()
        gaps = drawn.diff(dim=1)
        assert (shares * num_timesteps - 1).abs().max() < (0.15 if num_timesteps == 7 else 1)
        assert gaps.min() >= num_timesteps // 48 and gaps.max() <= num_timesteps // 48 + 1
    if batch_size == 1:
        assert drawn.double().mean() == pytest.approx((num_timesteps - 1) / 2, rel=0.15)

    largest = torch.tensor(1 - 2.0**-24)  # the largest output of `rand`; 47 plus it rounds to 48
    monkeypatch.setattr(torch, "rand", lambda *args, **kw: largest)
    assert process.times(source.draw(0)[2]).max() == num_timesteps - 1
    monkeypatch.setattr(torch, "rand", lambda *args, **kw: torch.tensor(0.0))
    assert process.times(source.draw(0)[2]).min() == 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("form", ["memory", "mapped", "gathered"])
@pytest.mark.parametrize("batch_size", [8, 48])  # batches that span two and three epochs
def test_streamed_draws_are_the_resident_ones(
    forms: dict[str, Items], form: str, batch_size: int, device: str, request: pytest.FixtureRequest
) -> None:
    training = TrainingConfig(batch_size=batch_size, num_steps=12, horizontal_flip=True)
    resident = drawn(forms["memory"], training, range(12), device)
    assert len(set(resident)) == 12
    assert drawn(forms[form], training, range(12), device) == resident
    request.getfixturevalue("full")
    assert drawn(forms[form], training, range(12), device) == resident
    assert drawn(forms[form], training, range(7, 12), device) == resident[7:]  # a resumed training


def test_images_copied_to_a_device_are_the_same(forms: dict[str, Items], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check on the CPU what CUDA does: copies in blocks that do not divide the number of images."""
    monkeypatch.setattr(batches, "_BLOCK", 7)
    training = TrainingConfig(batch_size=8)
    copied = OnDevice(forms["gathered"], training, 5, CPU)
    in_place = batches.OnHost(forms["memory"], training, 5, CPU)
    for step in (0, 4, 2):
        assert torch.equal(copied.of_step(step), in_place.of_step(step))


def test_a_whole_training_streamed(
    tiny: Make, cpu: Runtime, forms: dict[str, Items], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    class Cut(Exception):
        pass

    def cut(done: int, total: int) -> None:
        if done == 6:
            raise Cut

    def fit(name: str, images: Items, progress: Any = None) -> dict[str, Any]:
        at = {"out": tmp_path / name, "work": tmp_path / f"{name}-work"}
        return generators.fit(tiny(), images, seed=3, runtime=cpu, progress=progress, **at)

    def weights(name: str) -> str:
        return hashlib.sha256((tmp_path / name / "unet/diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()

    assert fit("resident", forms["memory"])["data"] == "resident"
    request.getfixturevalue("full")
    assert fit("streamed", forms["gathered"])["data"] == "streamed"
    with pytest.raises(Cut):
        fit("cut", forms["gathered"], cut)
    assert fit("cut", forms["gathered"])["resumed_from_step"] == 4
    assert weights("resident") == weights("streamed") == weights("cut")


def test_the_choice_is_by_free_memory_and_logged(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for spare, expected in ((0, "resident"), (-1, "streamed")):
        monkeypatch.setattr(batches, "free_memory", lambda device, n=spare: math.ceil(images.size / RESIDENT_SHARE) + n)
        assert NoisyBatches(images, TrainingConfig(), 0, CPU, CPU).batches.data == expected
        assert caplog.messages[-1].endswith(f"free on cpu: {expected}")


def test_a_composition_larger_than_the_machine(tmp_path: Path) -> None:
    """Check two pools on disk (sparse files, which take no space) that together have twice the size of the memory."""
    num_images = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (3 * 256 * 256)
    pools, refs = {}, []
    for generation in (0, 1):
        shape = (num_images, 3, 256, 256)
        path = tmp_path / f"{generation}.npy"
        images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        images[-1] = 100 + generation
        pool = Pool(images, Records.synthetic(generation, np.arange(num_images)))
        object.__setattr__(pool, "_id", f"pool{generation}")
        pools[pool.id] = pool
        refs.append(PoolRef.of(pool, generation))
    parts = tuple(Part(ref, np.arange(num_images)) for ref in refs)
    source = NoisyBatches(Composition(parts).items(pools), TrainingConfig(batch_size=8, num_steps=2), 0, CPU, CPU)
    assert source.batches.data == "streamed"
    last = {generation: source.batches.items[np.array([(1 + generation) * num_images - 1])] for generation in (0, 1)}
    assert [int(last[generation].min()) for generation in (0, 1)] == [100, 101]
    x0, _, _ = source.draw(0)
    assert x0.shape == (8, 3, 256, 256)


class Watched:
    """Items that count how many are requested, and fail from the n-th request on."""

    def __init__(self, images: np.ndarray, good: int) -> None:
        self.images, self.good, self.asked = images, good, 0
        self.shape, self.dtype = images.shape, images.dtype

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.asked += 1
        if self.asked > self.good:
            raise OSError(5, "the disk is gone")
        return self.images[rows]


@pytest.mark.usefixtures("full")
def test_an_image_that_cannot_be_read_stops_the_training(
    tiny: Make, cpu: Runtime, images: np.ndarray, tmp_path: Path
) -> None:
    seen: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        generators.fit(
            tiny(),
            Watched(images, good=6),
            seed=0,
            out=tmp_path / "out",
            work=tmp_path / "work",
            runtime=cpu,
            progress=lambda done, total: seen.append(done),
        )
    assert seen == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def strict() -> Iterator[Callable[[], None]]:
    """Return a function after whose call everything that waits for the device raises, to the end of the test."""
    yield lambda: device_tests.waiting_is("error")
    device_tests.waiting_is("default")


@device_tests.on_device
def test_no_draw_of_resident_images_waits_for_the_device(images: np.ndarray, strict: Callable[[], None]) -> None:
    training = TrainingConfig(batch_size=8, num_steps=40, horizontal_flip=True)
    source = NoisyBatches(images, training, 0, torch.device(device_tests.KIND), torch.device(device_tests.KIND))
    assert source.batches.data == "resident"
    source.draw(0)
    strict()
    total = sum(source.draw(step)[0].sum() for step in range(1, 40))  # 16 epochs
    device_tests.waiting_is("default")
    assert math.isfinite(float(total))


def test_free_memory() -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 2**20 < free_memory(CPU) <= machine
