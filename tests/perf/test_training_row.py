"""The training row compares like with like: the same loss, the same work counted, and turns of equal length."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.config import RuntimeConfig, UNetConfig
from bench.generators import ddpm
from bench.generators.network import build_unet
from bench.perf import counting, training
from bench.perf.machine import Machine
from bench.perf.peers.diffusers_loop import DiffusersLoop
from bench.runtime import Runtime, resolve

CASE = training.Case("smallest", UNetConfig([8, 16], [False, True], 1, attention_head_dim=16), 8, 8, 2)
CPU = Runtime(torch.device("cpu"), None, False)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8)).astype(np.uint8)


def test_loss_and_gradient_are_the_stock_loops(images: np.ndarray):
    unet = build_unet(CASE.unet, 8, 0)
    found = training.same_loss(unet, images, replace(CPU, autocast=torch.bfloat16))
    assert found["loss_difference_fp32"] < 1e-5 and found["gradient_difference_fp32"] < 1e-5
    assert 0 < found["loss_difference"] < 5e-3 and 0 < found["gradient_difference"] < 5e-2  # bf16: 8 bits


def test_stock_loop_trains(images: np.ndarray):
    torch.manual_seed(0)
    unet = build_unet(CASE.unet, 8, 0)
    before = [p.detach().clone() for p in unet.parameters()]
    loop = DiffusersLoop(unet, images, 8, 100, CPU.device)
    loop.run(7)  # further than the three batches of an epoch
    assert len(loop.losses) == loop.average.optimization_step == 7 and np.isfinite(loop.losses).all()
    assert any(not torch.equal(a, b) for a, b in zip(before, unet.parameters(), strict=True))


def test_our_side_is_fit_held_between_turns(images: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training.Case, "images", lambda self: images)
    steps: list[int] = []
    update = ddpm.Training.update

    def counted(self: ddpm.Training, step: int) -> None:
        steps.append(step)
        update(self, step)

    class Enough(Exception):
        pass

    turns: list[int] = []

    def turn() -> None:
        turns.append(len(steps))
        if len(turns) == 4:
            raise Enough

    monkeypatch.setattr(ddpm.Training, "update", counted)
    with pytest.raises(Enough):
        training.our_turns(turn, CASE, "cpu")
    assert turns == [0, 2, 4, 6]


def test_a_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counting, "measured_machine", lambda kind: Machine("here", 2, "2", {"float32": 100.0}, 10.0))
    (row,) = training.compare(CASE, CPU, num_pairs=2, installed=False)
    assert len(row.ours) == len(row.theirs) == 2 and min(row.ours) > 0 and row.target == 2.0
    limits = row.notes["limits"]
    assert limits["share_of_matrix_rate"] == pytest.approx(limits["gflop_per_second"] / 100)


def test_profile_is_of_the_steps_alone(images: np.ndarray):
    shares = training.profile_ours(CASE, images, CPU)
    assert "aten::convolution_backward" in shares and 0 < sum(shares.values()) <= 1.005


def test_denoising_diffusion_trains_at_near_equal_parameters(images: np.ndarray, tmp_path):
    pytest.importorskip("denoising_diffusion_pytorch")
    if resolve(RuntimeConfig()).device.type != "cpu":
        pytest.skip("its trainer takes the CUDA device")
    from bench.perf.peers.denoising_diffusion import DenoisingDiffusion, count, nearest_unet

    for parameters, levels in ((635_427, 2), (2_736_099, 3)):
        assert count(nearest_unet(parameters, levels)) == pytest.approx(parameters, rel=0.15)
    many = np.tile(images, (5, 1, 1, 1))
    other = DenoisingDiffusion(many, 16, 100_000, 2, tmp_path)
    other.run(1)
    other.run(2)
    assert other.trainer.step == 3
