"""An image depends on the model and on its own seed alone; finished blocks are not made twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import DDPMConfig
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

from bench import generators
from bench.errors import SamplingError
from bench.generators.ddpm import sampling
from bench.generators.shared import unet_sampling
from bench.machine.device import Runtime

Sample = Callable[..., np.ndarray]


@pytest.fixture
def draw(tiny: Callable[..., DDPMConfig], cpu: Runtime, images: np.ndarray, tmp_path: Path) -> Sample:
    """Return a function draw(seeds, work=name, **sampling) that samples from one small model."""
    config = tiny(training={"num_steps": 8}, noise={"prediction": "sample"})
    generators.fit(config, images, seed=0, out=tmp_path / "model", work=tmp_path / "fit", runtime=cpu)

    def call(
        seeds: np.ndarray, *, work: str, runtime: Runtime = cpu, progress: Any = None, **changes: object
    ) -> np.ndarray:
        changed = tiny(noise={"prediction": "sample"}, sampling={"num_steps": 4, **changes})
        at = {"work": tmp_path / work, "runtime": runtime, "progress": progress}
        return generators.sample(changed, tmp_path / "model", seeds, **at)

    return call


SEEDS = np.random.default_rng(1).integers(0, 2**62, 70)  # not a multiple of the tile


@pytest.mark.parametrize(
    ("sampler", "eta"), [("ddpm", 0.0), ("ddim", 0.5), ("dpmsolver++", 0.0), ("sde-dpmsolver++", 0.0)]
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pixels_do_not_depend_on_batch_size_number_or_order(
    draw: Sample, sampler: str, eta: float, precision: str
) -> None:
    runtime = Runtime(torch.device("cpu"), torch.bfloat16 if precision == "bf16" else None, False)
    how = {"sampler": sampler, "eta": eta, "runtime": runtime}
    whole = draw(SEEDS, work="whole", batch_size=1000, **how)
    assert whole.shape == (70, 3, 8, 8) and whole.dtype == np.uint8
    assert len({image.tobytes() for image in whole}) == 70
    np.testing.assert_array_equal(draw(SEEDS, work="small", batch_size=5, **how), whole)
    np.testing.assert_array_equal(draw(SEEDS[:33], work="fewer", batch_size=64, **how), whole[:33])
    np.testing.assert_array_equal(draw(SEEDS[41:42], work="one", batch_size=64, **how), whole[41:42])
    order = np.random.default_rng(2).permutation(70)
    np.testing.assert_array_equal(draw(SEEDS[order], work="order", batch_size=64, **how), whole[order])


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (3e38, "have NaN")]
)
def test_a_model_that_is_no_number_or_makes_none_is_not_sampled(
    draw: Sample, tmp_path: Path, value: float, message: str
) -> None:
    """Check it also for finite weights whose products overflow. Clamped and quantised, all would be plain pictures."""
    file = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    for name in ("conv_in.weight", "conv_out.weight"):
        tensors[name][:] = value
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(SamplingError, match=f"model.*{message}"):
        draw(SEEDS[:3], work="here")
    assert not list((tmp_path / "here").glob("*.npy")), "no block is kept"


def test_the_network_always_sees_as_many_images_on_the_cpu(draw: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the batch size: other sizes would round differently, on some machines for some networks."""
    sizes: set[int] = set()
    forward = UNet2DModel.forward

    def seen(self: UNet2DModel, x: torch.Tensor, *rest: Any, **more: Any) -> Any:
        sizes.add(len(x))
        return forward(self, x, *rest, **more)

    monkeypatch.setattr(UNet2DModel, "forward", seen)
    for batch_size in (5, 50, 1000):
        draw(SEEDS, work=str(batch_size), batch_size=batch_size)
    draw(SEEDS[:1], work="one", batch_size=1)
    assert len(sizes) == 1


def test_pixels_depend_on_the_seed(draw: Sample) -> None:
    first = draw(SEEDS[:4], work="a")
    assert (draw(SEEDS[:4] + 1, work="b") != first).any(axis=(1, 2, 3)).all()


def test_finished_blocks_are_taken_from_disk(draw: Sample, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = draw(SEEDS, work="full", batch_size=32)
    calls = []
    real = sampling.trajectory

    def cut(*args: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(sampling, "trajectory", cut)
    with pytest.raises(KeyboardInterrupt):
        draw(SEEDS, work="cut", batch_size=32)
    np.testing.assert_array_equal(draw(SEEDS, work="cut", batch_size=32), whole)
    assert len(calls) == 4  # one before the cut, one cut off, two after it

    damaged = sorted((tmp_path / "cut").glob("*.npy"))[0]
    damaged.write_bytes(damaged.read_bytes()[:50])
    np.testing.assert_array_equal(draw(SEEDS, work="cut", batch_size=32), whole)
    assert len(calls) == 5

    flipped = bytearray(damaged.read_bytes())
    flipped[-1] ^= 1
    damaged.write_bytes(flipped)
    np.testing.assert_array_equal(draw(SEEDS, work="cut", batch_size=32), whole)
    assert len(calls) == 6


def test_blocks_of_other_seeds_are_not_taken(draw: Sample) -> None:
    first, second = SEEDS[:40], SEEDS[30:]
    expected = draw(second, work="fresh", batch_size=32)
    draw(first, work="shared", batch_size=32)
    np.testing.assert_array_equal(draw(second, work="shared", batch_size=32), expected)


def test_progress_counts_images_to_the_last(draw: Sample) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):  # the second time from disk
        seen.clear()
        draw(SEEDS, work="seen", batch_size=64, progress=lambda *at: seen.append(at))
        assert seen == sorted(seen) and seen[-1] == (70, 70)
        assert {total for _, total in seen} == {70} and 64 in dict(seen)


def test_no_seeds_no_images(draw: Sample) -> None:
    assert draw(SEEDS[:0], work="none").shape == (0, 3, 8, 8)


def test_quantise_rounds_to_the_nearest_and_clips() -> None:
    x = torch.tensor([-2.0, -1.0, -1.0 + 0.9 / 255, -1.0 + 1.1 / 255, 0.0, 1.0, 7.0])
    assert unet_sampling.quantise(x).tolist() == [0, 0, 0, 1, 128, 255, 255]
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(unet_sampling.quantise(pixels.float() / 127.5 - 1), pixels)
