"""The training row compares like with like: the same loss, and turns of equal length."""

import copy

import numpy as np
import pytest
import torch
from configs import NoiseConfig, UNetConfig

from bench.config import RuntimeConfig
from bench.generators.ddpm.process import build_process
from bench.generators.shared.unet import build_unet
from bench.machine.device import resolve_runtime
from bench.perf import compare_training
from bench.perf.peers.diffusers_loop import DiffusersLoop

NETWORK = ("generator.unet.channels=[8,16]", "generator.unet.attention=[false,true]")
CASE = compare_training.Case("smallest", (*NETWORK, "generator.unet.attention_head_dim=16"), 8, 8, 2)
CPU = torch.device("cpu")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8)).astype(np.uint8)


def loop_and_network(images: np.ndarray) -> tuple[DiffusersLoop, torch.nn.Module]:
    unet = build_unet(UNetConfig([8, 16], [False, True], 1, attention_head_dim=16), 8, 0)
    return DiffusersLoop(copy.deepcopy(unet), images, 8, CPU), unet


def test_loss_and_gradient_are_the_stock_loops(images: np.ndarray):
    loop, unet = loop_and_network(images)
    random = torch.Generator().manual_seed(0)
    x0 = torch.from_numpy(images[:16].astype(np.float32) / 127.5 - 1)
    eps = torch.randn(x0.shape, generator=random)
    t = torch.randint(0, 1000, (len(x0),), generator=random)
    theirs, ours = loop.loss(x0, eps, t), build_process(NoiseConfig(), CPU).loss(unet, x0, eps, t)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    theirs.backward()
    ours.backward()
    a, b = (torch.cat([p.grad.flatten() for p in network.parameters()]) for network in (unet, loop.unet))
    assert (a - b).norm() < 1e-5 * b.norm()


def test_a_case_is_trained_as_the_example():
    generator = CASE.config.generator
    assert vars(generator.noise) == vars(NoiseConfig())
    assert generator.unet.channels == [8, 16] and generator.unet.dropout == 0
    wanted = {"batch_size": 8, "warmup_steps": 0, "decay": "none", "horizontal_flip": True, "num_micro_batches": 1}
    assert {key: vars(generator.training)[key] for key in wanted} == wanted
    assert CASE.images().shape == (256, 3, 8, 8)


def test_stock_loop_trains(images: np.ndarray):
    torch.manual_seed(0)
    loop, before = loop_and_network(images)
    loop.run(7)  # further than the three batches of an epoch
    assert len(loop.losses) == loop.average.optimization_step == 7 and np.isfinite(loop.losses).all()
    pairs = zip(before.parameters(), loop.unet.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_our_turn_is_fit_timed_after_its_first_steps(monkeypatch: pytest.MonkeyPatch):
    """Only the last two of `WARM` + 2 steps are timed."""
    clock = iter(range(100))
    seen: list[int] = []
    fit = compare_training.generators.fit

    def watched(*arguments, progress, **named):
        def both(done, total):
            seen.append(done)
            progress(done, total)

        return fit(*arguments, progress=both, **named)

    monkeypatch.setattr(compare_training.generators, "fit", watched)
    monkeypatch.setattr(compare_training.time, "perf_counter", lambda: (next(clock), seen[-1])[1])
    seconds, num_parameters = compare_training.our_turn(CASE, "cpu")()
    assert seen == [1, 2, 3, 4]
    assert seconds == 4 - compare_training.WARM == CASE.turn
    assert num_parameters == compare_training.peer_turn(compare_training.STOCK, CASE, "cpu")()[1]


@pytest.mark.slow  # `make perf-short` runs the row
def test_a_row():
    (row,) = compare_training.compare(CASE, "cpu", 2, compare_training.STOCK)
    assert len(row.ours) == len(row.theirs) == 2 and min(row.ours) > 0 and row.target == 2.0
    assert row.notes["parameters"] == row.notes["their_parameters"] and row.notes["gflop_per_second"] > 0


def test_denoising_diffusion_trains_at_near_equal_parameters(images: np.ndarray):
    pytest.importorskip("denoising_diffusion_pytorch")
    if resolve_runtime(RuntimeConfig()).device.type != "cpu":
        pytest.skip("its trainer takes the CUDA device")
    from bench.perf.peers.denoising_diffusion import DenoisingDiffusion, count, nearest_unet

    for parameters, levels in ((635_427, 2), (2_736_099, 3)):
        assert count(nearest_unet(parameters, levels)) == pytest.approx(parameters, rel=0.15)
    many = np.tile(images, (5, 1, 1, 1))
    other = DenoisingDiffusion(many, 16, 100_000, 2)
    other.run(1)
    other.run(2)
    assert other.trainer.step == 3
