"""`make gpu`: what to run first on a new GPU, in about an hour. Writes one file, to be sent back with a report.

Runs the tests marked `cuda`, a short `flowers64` on drawn pictures, and the comparison with a stock diffusers loop.
Trains the headline network plain, compiled, with CUDA graphs, deterministically and in float32, and a small network
with and without graphs. Each training has its own process and is sampled in blocks of 64 and 512; two deterministic
ones are compared by hash. Exits with status 1 if something is not as promised, 2 if there is no such device.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.machine.pipes import exit_with

DRAWN = "data=procedural data.num_train=1024 data.num_heldout=512 metrics=efficientnet_lite0 metrics.num_images=512"
HEADLINE = f"experiment=flowers64 {DRAWN} data.resolution=64 metrics.extra_spaces=[] tracking=none"
TINY = (
    "experiment=none data=procedural data.resolution=16 data.num_train=24 data.num_heldout=24 "
    "data.num_calibration=0 metrics.num_images=16 "
    "generator.unet.channels=[8,16] generator.unet.attention=[false,false] generator.unet.layers_per_block=1 "
    "generator.training.batch_size=8 generator.training.warmup_steps=0 generator.sampling.num_steps=2 num_probes=2 "
    "runtime.num_threads=1"
)
SMALL = (
    "data.resolution=16 generator.unet.channels=[32,64] generator.unet.attention=[false,true] "
    "generator.unet.layers_per_block=1 generator.training.batch_size=16 runtime.compile=true "
)
"""Overrides for a compiled network whose kernels take longer to launch than to run."""
STEPS = {False: 300, True: 6}
"""Whether `--short` is given -> training steps of a trial."""
TRIALS = {
    "plain": "runtime.compile=false",
    "plain again": "runtime.compile=false",
    "compiled": "runtime.compile=true",
    "graphs": "runtime.compile=true runtime.cuda_graphs=true",
    "small": SMALL + "runtime.cuda_graphs=false",
    "small graphs": SMALL + "runtime.cuda_graphs=null",
    "deterministic": "runtime.deterministic=true",
    "deterministic again": "runtime.deterministic=true",
    "fp32": "runtime.compile=false runtime.precision=fp32",
}
"""Trial -> the overrides that say what is trained and how."""
CLOSE = 0.02
"""Largest accepted relative difference between the mean losses of two ways to compute the same training."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.perf.first_hour", description=__doc__)
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--short", action="store_true", help="a network of seconds, to try the command itself")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu/report.json"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("error: there is no CUDA device here: run this where `nvidia-smi` lists one", file=sys.stderr)
        return 2
    report = run(options.device, options.short, options.out)
    print("\n".join(["", *verdict(report), "", f"please send {options.out}"]))
    return 0 if all(line.startswith("as promised") for line in verdict(report)) else 1


def run(device: str, short: bool, out: Path) -> dict[str, Any]:
    """Run every section, even if others fail. Write the report after each section, and return it."""
    sections: dict[str, Callable[[], Any]] = {"machine": lambda: machine(device)}
    if not short:
        sections["tests"] = lambda: command("-m", "pytest", "-q", "-n0", "-m", "cuda", "--timeout", "1800")
    for name, how in TRIALS.items():
        if device != "cpu" or "compile=true" not in how:
            overrides = [*chosen(device, short, STEPS[short]), *how.split()]
            sections[name] = partial(apart, trial, overrides)
    sections["smoke"] = lambda: smoke(device, short)
    if not short:
        sections["perf"] = lambda: apart(compared, device)
    report: dict[str, Any] = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, work in sections.items():
        print(f"{name} …", flush=True)
        started = time.monotonic()
        try:
            found = work()
        except Exception:
            found = {"error": traceback.format_exc()}
        report[name] = {**found, "seconds": round(time.monotonic() - started, 1)}
        out.write_text(json.dumps(report, indent=1, default=str) + "\n")
        print(json.dumps(report[name], default=str)[:2000], flush=True)
    return report


def verdict(report: dict[str, Any]) -> list[str]:
    """Return one line per promise: "as promised: …" or "NOT as promised: …"."""
    promises = {f"{name} ran": "error" not in found and found.get("status", 0) == 0 for name, found in report.items()}
    first, again = (report.get(name, {}) for name in ("deterministic", "deterministic again"))
    promises["two deterministic trainings are one"] = "weights" in first and first["weights"] == again.get("weights")
    for name in [name for name in TRIALS if "weights" in report.get(name, {})]:
        found, plain = report[name], report.get("small" if name.startswith("small") else "plain", {})
        blocks = set(found["samples"].values())
        if found["deterministic"]:
            promises[f"{name}: blocks of 64 and of 512 hold the same samples"] = len(blocks) == 1
        close = abs(found["mean_loss"] / plain["mean_loss"] - 1) < CLOSE if "mean_loss" in plain else False
        promises[f"{name}: the loss is that of the plain training"] = close
    if "weights" in report.get("small graphs", {}):
        used = report["small graphs"]["runtime"]["cuda_graphs"] == "small networks"
        promises["small graphs: their values were right, so they were used"] = used
    return [f"{'as promised' if kept else 'NOT as promised'}: {what}" for what, kept in promises.items()]


def chosen(device: str, short: bool, num_steps: int) -> list[str]:
    """Return the overrides of a trial or of the smoke run."""
    steps = f"generator.training.num_epochs=null generator.training.num_steps={num_steps} runtime.device={device}"
    return [*(TINY if short else HEADLINE).split(), *steps.split()]


def machine(device: str) -> dict[str, Any]:
    """Describe the machine: versions, settings, measured limits, and what `nvidia-smi` says."""
    from bench.config import RuntimeConfig
    from bench.machine import environment
    from bench.machine.compiler import missing_for_compilation
    from bench.machine.device import resolve_runtime

    kind = device.partition(":")[0]
    facts = {**environment.describe(), **resolve_runtime(RuntimeConfig(device=device)).facts()}
    facts["missing_for_compilation"] = missing_for_compilation(kind)
    if kind == "cuda":
        from bench.perf.machine_limits import measured_machine

        facts["limits"] = measured_machine(kind)
        facts["nvidia_smi"] = subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout
    return facts


def trial(overrides: list[str]) -> dict[str, Any]:
    """Train and sample in this process.

    Returns checksums of the weights and of the samples by block size, the mean loss, the seconds to the end of the
    first step and of each later step, the peak memory that torch allocated in bytes, and facts of the runtime.
    """
    import numpy as np
    import torch

    from bench import generators
    from bench.config import register_schemas
    from bench.datasets import load_real
    from bench.generators.shared.unet_sampling import TILES
    from bench.machine.device import resolve_runtime
    from bench.perf.pairs import drain
    from bench.protocols import compose_config

    register_schemas()
    config = compose_config(overrides)
    runtime = resolve_runtime(config.runtime)
    images = load_real(config.data).train.items
    generator: Any = config.generator
    times = [time.perf_counter()]

    def look(done: int, total: int) -> None:
        if done in (1, total):
            drain()
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        facts = generators.fit(
            generator, images, seed=0, out=model, work=Path(folder, "work"), runtime=runtime, progress=look
        )
        weights = hashlib.sha256((model / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()
        samples = {}
        for block in (64, 512):
            generator.sampling.batch_size = block
            seeds = np.arange(3 * TILES[runtime.device.type] + 1)
            items = generators.sample(generator, model, seeds, work=Path(folder, f"block{block}"), runtime=runtime)
            samples[block] = hashlib.sha256(items.tobytes()).hexdigest()
    used = torch.cuda.max_memory_allocated() if runtime.device.type == "cuda" else None
    pace = {"first_step_s": times[1] - times[0], "step_s": (times[2] - times[1]) / (facts["num_steps"] - 1)}
    about = {"mean_loss": facts["mean_loss"], "deterministic": runtime.deterministic, "memory": used}
    return {"weights": weights, "samples": samples, **about, **pace, "runtime": runtime.facts()}


def smoke(device: str, short: bool) -> dict[str, Any]:
    """Run a chain of two generations as a command; return its outcome and its rows without their configurations."""
    from bench import ledger

    with tempfile.TemporaryDirectory() as folder:
        where = ["name=smoke", f"output_dir={folder}", "num_generations=2"]
        done = command("-m", "bench", *chosen(device, short, 6 if short else 4000), *where)
        rows = [row for path in Path(folder, "smoke").rglob(ledger.FILENAME) for row in ledger.read(path)]
        return {**done, "rows": [[row.generation, row.train, row.sample, row.environment, row.scores] for row in rows]}


def compared(device: str) -> dict[str, Any]:
    """Time the headline training compared with a stock diffusers loop."""
    from bench.perf.compare_training import HEADLINE, STOCK, compare

    return {"rows": [row.as_json() for row in compare(HEADLINE, device, 5, STOCK)]}


def command(*arguments: str) -> dict[str, Any]:
    """Run Python with arguments; return the exit status and the end of what it printed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    return {"status": done.returncode, "output": (done.stdout + done.stderr)[-6000:]}


def apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run some work in a new process and return its result: torch's settings and kernel choices are per process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


if __name__ == "__main__":
    exit_with(main)
