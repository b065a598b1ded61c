"""Training images per second: `fit` itself beside the loops that a user would write or install instead.

Ours is the whole of `fit`: data, timesteps, loss, gradient, clipping, optimiser, average and the watch on the loss. It
is held at every few steps for the turn of the others. Each side has a process of its own.
"""

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from bench import generators
from bench.config import DDPMConfig, NoiseConfig, ProceduralConfig, RuntimeConfig, TrainingConfig, UNetConfig
from bench.datasets import load_real
from bench.generators.network import autocast, build_process, build_unet, place
from bench.perf.counting import beside_limits, training_step
from bench.perf.pairs import Comparison, Spread, Work, alternate, drain
from bench.perf.peers.diffusers_loop import DiffusersLoop, stock_loss
from bench.perf.profiles import by_operator, operators, top
from bench.perf.sides import Side, Turn, repeat, set_threads
from bench.runtime import Runtime, resolve

TARGET = 2.0

MANY = 100_000
"""Steps of a training that is ended when enough has been seen of it."""

GUARD = 0.8
"""What the short form holds the ratio to: on any machine, with bf16 or without, we are not the slower beyond noise."""


@dataclass(frozen=True)
class Case:
    """One network on images of one size. turn: steps that each side takes before it is the other's turn."""

    name: str
    unet: UNetConfig
    resolution: int
    batch_size: int
    turn: int

    def config(self, num_steps: int) -> DDPMConfig:
        """Epsilon prediction with the plain squared error, as the example of diffusers has it."""
        training = TrainingConfig(
            num_steps=num_steps, batch_size=self.batch_size, warmup_steps=0, checkpoint_every=num_steps
        )
        return DDPMConfig(unet=self.unet, noise=NoiseConfig(), training=training)

    def images(self) -> np.ndarray:
        data = ProceduralConfig(resolution=self.resolution, num_train=256, num_heldout=2)
        return load_real(data).train.images

    def __str__(self) -> str:
        return f"{self.name}: {self.resolution} px, batch {self.batch_size}"


TINY = Case("ddpm_tiny", UNetConfig([32, 64], [False] * 2, 1), 16, 8, 40)
SMALL = Case("ddpm_small", UNetConfig([32, 64, 128], [False, False, True], 1), 16, 16, 20)
WIDE = Case("64-128-128", UNetConfig([64, 128, 128], [False, False, True], 1), 32, 32, 3)
HEADLINE = Case("ddpm", UNetConfig([128, 256, 256, 256], [False, False, True, True], 2), 64, 128, 20)


def rows(short: bool) -> Iterator[Comparison]:
    """On the CPU, and on a CUDA device where there is one. short: the smallest network alone, seconds."""
    set_threads()
    cpu = resolve(RuntimeConfig(device="cpu"))
    if short:
        yield from compare(replace(TINY, turn=8), cpu, num_pairs=3, installed=False, target=GUARD)
        return
    for case in (TINY, SMALL, WIDE):
        yield from compare(case, cpu, num_pairs=9, installed=case is SMALL and not torch.cuda.is_available())
    yield from compare(replace(HEADLINE, batch_size=8, turn=1), cpu, num_pairs=5, installed=False)
    if torch.cuda.is_available():
        yield from compare(HEADLINE, resolve(RuntimeConfig(device="cuda")), num_pairs=5, installed=True)


def compare(
    case: Case, runtime: Runtime, num_pairs: int, installed: bool, target: float = TARGET
) -> Iterator[Comparison]:
    """One row beside the stock loop and, if `installed`, one beside denoising-diffusion-pytorch."""
    images = case.images()
    unet = build_unet(case.unet, case.resolution, 0)
    count = sum(p.numel() for p in unet.parameters())
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        sides = [stack.enter_context(Side(our_turns, case, runtime.device.type))]
        sides.append(stack.enter_context(Side(repeat, stock_turn, case, runtime)))
        if installed:
            sides.append(stack.enter_context(Side(repeat, denoising_diffusion_turn, case, count, folder)))
            their_count = sides[-1]()
        found = alternate(*sides, num_pairs=num_pairs)
    ours, *theirs = ([s / (case.turn * case.batch_size) for s in seconds] for seconds in found)
    where = f"{runtime.device.type}, {torch.get_num_threads()} threads" if runtime.device.type == "cpu" else "cuda"
    row = f"training, {case}, {where}"
    notes = {
        "parameters": count,
        "precision": runtime.precision,
        "steps_per_pair": case.turn,
        "limits": limits(case, runtime, ours),
        **same_loss(unet, images, runtime),
    }
    if num_pairs > 3:
        notes["time_goes_to"] = {
            "ours": profile_ours(case, images, runtime),
            "stock loop": by_operator(stock_turn(case, runtime)),
        }
    yield Comparison(row, "stock diffusers loop, fp32", "image", ours, theirs[0], target, notes)
    if installed:
        shared = {name: notes[name] for name in ("parameters", "precision", "limits")}  # the rest is of the stock loop
        notes = {**shared, "their_parameters": their_count}
        yield Comparison(row, "denoising-diffusion-pytorch Trainer", "image", ours, theirs[1], target, notes)


def our_turns(turn: Turn, case: Case, device: str) -> None:
    """The main of our side: `fit`, held after every few steps."""
    runtime = resolve(RuntimeConfig(device=device))  # in this process, as a run does
    turn()

    def hold(done: int, total: int) -> None:
        if done % case.turn == 0:
            turn()

    run_fit(case, case.images(), runtime, MANY, hold)


def stock_turn(case: Case, runtime: Runtime) -> Work:
    unet = build_unet(case.unet, case.resolution, 0)
    loop = DiffusersLoop(unet, case.images(), case.batch_size, MANY, runtime.device)
    return lambda: loop.run(case.turn)


def denoising_diffusion_turn(case: Case, num_parameters: int, folder: str) -> Work:
    """Returns how many parameters its network has."""
    from bench.perf.peers.denoising_diffusion import DenoisingDiffusion

    images = case.images()
    other = DenoisingDiffusion(images, case.batch_size, num_parameters, len(case.unet.channels), Path(folder))

    def work() -> int:
        other.run(case.turn)
        return other.num_parameters

    return work


def run_fit(
    case: Case, images: np.ndarray, runtime: Runtime, num_steps: int, progress: Callable[[int, int], None]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, work = Path(folder, "out"), Path(folder, "work")
        config = case.config(num_steps)
        generators.fit(config, images, seed=0, out=out, work=work, runtime=runtime, progress=progress)


def limits(case: Case, runtime: Runtime, seconds_per_image: list[float]) -> dict[str, Any]:
    count = training_step(case.config(1), case.resolution, runtime.autocast or torch.float32)
    return beside_limits(count, Spread.of(seconds_per_image).median * case.batch_size, runtime)


def same_loss(unet: UNet2DModel, images: np.ndarray, runtime: Runtime) -> dict[str, float]:
    """How far our loss and gradient are from the stock loop's with equal weights, images, noise and timesteps.

    Relative, in float32 (`_fp32`) and in the precision that the row is timed in.
    """
    device = runtime.device
    plain = Runtime(device, None, False)
    process = build_process(NoiseConfig(), device)
    stock = copy.deepcopy(unet)
    stock.to(device)  # type: ignore[arg-type]  # diffusers' wrapper hides the type
    random = torch.Generator().manual_seed(0)
    x0 = torch.from_numpy(images[:16].astype(np.float32) / 127.5 - 1).to(device)
    eps = torch.randn(x0.shape, generator=random).to(device)
    t = torch.randint(0, 1000, (len(x0),), generator=random).to(device)
    scheduler = DiffusersLoop.build_scheduler()

    def measured(network: UNet2DModel, loss: torch.Tensor) -> tuple[float, torch.Tensor]:
        gradient = torch.autograd.grad(loss, list(network.parameters()))
        return loss.item(), torch.cat([g.flatten() for g in gradient])

    wanted_loss, wanted = measured(stock, stock_loss(stock, scheduler, x0, eps, t))
    found: dict[str, float] = {}
    for name, how in (("_fp32", plain), ("", replace(runtime, compile=False))):
        ours = copy.deepcopy(unet)
        network = place(ours, how)
        with autocast(how):
            loss = process.loss(network, x0, eps, t)
        value, gradient = measured(ours, loss)
        found[f"loss_difference{name}"] = abs(value - wanted_loss) / wanted_loss
        found[f"gradient_difference{name}"] = ((gradient - wanted).norm() / wanted.norm()).item()
    return found


def profile_ours(case: Case, images: np.ndarray, runtime: Runtime) -> dict[str, float]:
    """As `by_operator`, of one turn of `fit` after a first one."""
    with operators() as empty:
        pass
    running = empty

    def watch(done: int, total: int) -> None:
        nonlocal running
        if done == case.turn:
            running = operators()
            running.__enter__()
        elif done == 2 * case.turn:
            drain()
            running.__exit__(None, None, None)

    run_fit(case, images, runtime, 2 * case.turn, watch)
    return top(running)


def growth() -> list[dict[str, Any]]:
    """Ours against the size of the images and the width of the network: how the cost of a step grows."""
    set_threads()
    runtime = resolve(RuntimeConfig())
    found = []
    for resolution, width in ((16, 1), (32, 1), (64, 1), (32, 2), (32, 4)):
        unet = UNetConfig([32 * width, 64 * width, 64 * width], [False] * 3, 1)
        case = Case(f"width x{width}", unet, resolution, 16, 2)
        with Side(our_turns, case, runtime.device.type) as side:
            (seconds,) = alternate(side, num_pairs=4)
        seconds = [s / (case.turn * case.batch_size) for s in seconds]
        network = build_unet(unet, resolution, 0)
        found.append(
            {
                "resolution": resolution,
                "width": width,
                "parameters": sum(p.numel() for p in network.parameters()),
                "images_per_second": 1 / Spread.of(seconds).median,
                "seconds_per_step": Spread.of(seconds).median * case.batch_size,
                "limits": limits(case, runtime, seconds),
            }
        )
    return found
