"""A whole chain on the CPU and on the stand-in for a device, compared; run by test_stand_in.py. Prints JSON."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pretended
import torch
from safetensors.torch import load_file
from shrunk import TINY, composed
from values import StandIn

from bench import generators, ledger
from bench.generators.ddpm.training import DDPMTraining
from bench.generators.shared import steps, unet_sampling
from bench.loop import run_chain
from bench.machine.console import Console
from bench.machine.device import resolve_runtime

SMALL = [
    *TINY,
    "name=stand_in",
    "num_generations=2",
    "generator.unet.attention=[false,true]",
    "generator.unet.attention_head_dim=16",
    "generator.training.num_steps=6",
    "generator.training.checkpoint_every=3",
    "metrics.scores=[frechet,kernel,manifold,diversity,copying,risk]",
    "metrics.feature_space=pixels",
    "runtime.precision=fp32",
    "runtime.compile=false",
    "runtime.deterministic=true",
]


def chain(folder: Path, device: str) -> list[Any]:
    """Run a chain; return its rows."""
    config = composed(*SMALL, f"runtime.device={device}", f"output_dir={folder}")
    return ledger.read(run_chain(config, Console()) / ledger.FILENAME)


def weights(row: Any) -> np.ndarray:
    path = Path(row.store_dir, row.artifacts["model"], "unet", "diffusion_pytorch_model.safetensors")
    return torch.cat([value.flatten() for _, value in sorted(load_file(path).items())]).numpy()


def samples(row: Any) -> np.ndarray:
    return np.load(Path(row.store_dir, row.artifacts["samples"], "items.npy")).astype(int)


def fit(folder: Path) -> None:
    """Train alone, on the stand-in."""
    config = composed(*SMALL, "runtime.device=cuda")
    images = np.zeros((16, 3, 16, 16), np.uint8)
    runtime = resolve_runtime(config.runtime)
    generators.fit(config.generator, images, seed=0, out=folder / "out", work=folder / "work", runtime=runtime)


def main(folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    step, stand_in = DDPMTraining.step, StandIn()
    waits: list[int] = []

    def counted(wrong: Callable[[torch.Tensor], Any] = lambda loss: loss) -> Callable[..., torch.Tensor]:
        """Return a step that counts what waits in it, with something wrong in it."""

        def counting(self: DDPMTraining, number: int) -> torch.Tensor:
            before = stand_in.waits.total()
            loss = step(self, number)
            wrong(loss)
            waits.append(stand_in.waits.total() - before)
            return loss

        return counting

    found: dict[str, Any] = {}
    with pretended.device():
        on_cpu = chain(folder / "cpu", "cpu")
    alike = mock.patch.dict(unet_sampling.TILES, cuda=unet_sampling.TILES["cpu"])
    with pretended.device(), alike, stand_in:  # both choose one kernel
        with mock.patch.object(DDPMTraining, "step", counted()):
            stopped = iter([False] * 4 + [True])  # SIGTERM in the fifth step; then the same command again
            with mock.patch.object(steps.interrupt, "requested", lambda: next(stopped, False)):
                found["stop"] = pretended.failure(lambda: chain(folder / "cuda", "cuda"))
            on_cuda = chain(folder / "cuda", "cuda")
        found["waits"] = waits[:]
        found["resumed_from"] = on_cuda[0].train["resumed_from_step"]
        found["operations"] = dict(stand_in.operations)
        waits.clear()
        with mock.patch.object(DDPMTraining, "step", counted(lambda loss: loss.item())):
            fit(folder / "read")
        found["waits_of_a_reading"] = waits[:]
        with mock.patch.object(DDPMTraining, "step", counted(lambda loss: loss * torch.ones(1))):
            found["mixed"] = pretended.failure(lambda: fit(folder / "mixed"))
        found["unordered"] = pretended.failure(lambda: torch.rand(4, device="cuda").median(dim=0))
    found["devices"] = [row.environment["device"] for row in (*on_cpu, *on_cuda)]
    for ours, theirs in zip(on_cuda, on_cpu, strict=True):
        a, b = weights(ours), weights(theirs)
        found.setdefault("weights", []).append(float(np.linalg.norm(a - b) / np.linalg.norm(b)))
        found.setdefault("pixels", []).append(int(np.abs(samples(ours) - samples(theirs)).max()))
        assert [row["metric"] for row in ours.scores] == [row["metric"] for row in theirs.scores]
        pairs = [[row["metric"], x["value"], row["value"]] for x, row in zip(ours.scores, theirs.scores, strict=True)]
        found.setdefault("scores", []).append(pairs)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
