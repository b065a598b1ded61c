"""Device and precision: resolves `RuntimeConfig` on this machine, and logs and records every fallback."""

import logging
import os
import platform
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.config import RuntimeConfig
from bench.errors import ConfigError
from bench.machine import cuda_graphs, distributed, torchrun
from bench.machine.compiler import missing_for_compilation
from bench.machine.memory import available_memory

log = logging.getLogger(__name__)

STEPS_WORTH_COMPILING = 4000
"""Optimiser steps below which a training on CUDA is not compiled by default. Compiling takes about a minute and saves
some 10 to 20 ms per step. Both are estimates until `make gpu` has measured them."""

CUBLAS_WORKSPACES = (":4096:8", ":16:8")
"""The values of CUBLAS_WORKSPACE_CONFIG with which cuBLAS sums in a fixed order, the faster one first."""

Progress = Callable[[int, int], None]
"""A callback for (done, total) as a stage advances, cheap enough to be called in every step."""


def silent(done: int, total: int) -> None:
    """Ignore progress: the callback of a caller that shows none."""


class Watched:
    """Progress callback of a training that also takes losses: `progress.loss(done, total, mean loss since the last)`.

    A generator that does not train in steps can ignore `loss`.
    """

    def __init__(self, progress: Progress, loss: Callable[[int, int, float], None]) -> None:
        """Create the callback. progress: Called with the progress. loss: Called with the losses."""
        self._progress, self.loss = progress, loss

    def __call__(self, done: int, total: int) -> None:
        self._progress(done, total)


@dataclass(frozen=True)
class Runtime:
    """The device, the precision and the execution of networks.

    Attributes:
        device: The device that networks run on.
        autocast: torch.bfloat16, or None for plain float32.
        compile: Whether networks are compiled.
        cuda_graphs: Whether compiled networks are replayed as CUDA graphs; None: only small ones, if the check of their
            values passes.
        deterministic: Whether the same command on the same kind of GPU ends in the same bytes.
        fallbacks: What this machine could not do, in words.
        ordered_gradients: Whether processes add gradients in the order of the ranks.
    """

    device: torch.device
    autocast: torch.dtype | None
    compile: bool
    cuda_graphs: bool | None = False
    deterministic: bool = False
    fallbacks: tuple[str, ...] = ()
    ordered_gradients: bool = False

    @property
    def draw_on(self) -> torch.device:
        """Return the device that a training's random numbers are drawn on: the CPU in a deterministic run, because
        those of a GPU depend on its number of multiprocessors."""
        return torch.device("cpu") if self.deterministic else self.device

    @property
    def arithmetic(self) -> dict[str, Any]:
        """Return what changes the bytes of a model or a sample. It is part of their keys."""
        compiled = {"compile": True} if self.compile else {}
        deterministic = {"deterministic": True} if self.deterministic and self.device.type == "cuda" else {}
        return {"device": self.device.type, "precision": self.precision, **compiled, **deterministic}

    @property
    def precision(self) -> str:
        """Return the name of the precision in ledgers, bf16 or fp32."""
        return "bf16" if self.autocast is torch.bfloat16 else "fp32"

    def mixed_precision(self) -> AbstractContextManager[Any]:
        """Return the context that networks are evaluated in: autocast, or a null context in full precision."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast)

    def replays(self, network: torch.nn.Module) -> bool:
        """Return whether a network, once compiled, is replayed as CUDA graphs."""
        if self.cuda_graphs is not None:
            return self.cuda_graphs
        return cuda_graphs.pay_for(network) and cuda_graphs.problem(self.device, self.autocast) is None

    def facts(self) -> dict[str, Any]:
        """Return what a ledger row records about the machine."""
        cuda = self.device.type == "cuda"
        wrong = cuda_graphs.found.get((self.device, self.autocast)) if self.cuda_graphs is None else None
        return {
            "device": torch.cuda.get_device_name(self.device) if cuda else "cpu",
            "processor": platform.processor() or platform.machine(),
            "cpu_model": cpu_model(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "num_threads": torch.get_num_threads(),
            "precision": self.precision,
            "compile": self.compile,
            "cuda_graphs": "small networks" if self.cuda_graphs is None and not wrong else bool(self.cuda_graphs),
            "deterministic": self.deterministic,
            "fallbacks": [*self.fallbacks, *([f"CUDA graphs are not used: {wrong}"] if wrong else [])],
        }


def cpu_model() -> str | None:
    """Return the name of the processor, such as `AMD EPYC 9754`, or None if the system does not tell it."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search("model name.*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else None


def resolve_runtime(config: RuntimeConfig, num_steps: int | None = None) -> Runtime:
    """Choose device, precision and compilation, and set up the process for them.

    Args:
        config: The requested runtime.
        num_steps: Optimiser steps of a training, which decide whether compiling pays; None: unknown, assumed large.

    Raises:
        ConfigError: The machine lacks what the configuration names, or its options contradict each other.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    has_cuda = torch.cuda.is_available()
    if config.device == "auto":
        device = torch.device("cuda" if has_cuda else "cpu")
        log.info("runtime.device=auto: using %s", device)
    elif config.device != "cpu" and not has_cuda:
        raise ConfigError("runtime.device", config.device, "there is no CUDA device here: use cpu or auto")
    else:
        device = torch.device(config.device)
    if device.type == "cuda" and distributed.world_size() > 1:
        device = own_device(config.device)
        torch.cuda.set_device(device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means fp32; bf16 is the fast precision
        torch.backends.cudnn.allow_tf32 = False
        set_deterministic(config.deterministic)
    autocast = torch.bfloat16 if config.precision == "bf16" else None
    if config.precision == "auto" and has_bf16(device):
        autocast = torch.bfloat16
    compile_, fallbacks = choose_compilation(config, device, num_steps)
    if config.cuda_graphs and not (compile_ and device.type == "cuda"):
        problem = f"the device is {device}" if device.type != "cuda" else "runtime.compile is false"
        raise ConfigError("runtime.cuda_graphs", True, f"needs compiled networks on CUDA, but {problem}: must be false")
    ordered = config.ordered_gradients or config.deterministic
    graphs = config.cuda_graphs if compile_ and device.type == "cuda" else False
    return Runtime(device, autocast, compile_, graphs, config.deterministic, fallbacks, ordered)


def own_device(asked: str) -> torch.device:
    """Return the CUDA device of this process. Each process that torch's launcher started on this node gets its own.

    Raises `ConfigError` in all processes if there are fewer devices, or if `asked` names one device for all.
    """
    if torch.device(asked if asked != "auto" else "cuda").index is not None:
        raise ConfigError("runtime.device", asked, "several processes cannot share a device: must be cuda or auto")
    needed, present = torchrun.num_local_processes(), torch.cuda.device_count()
    if present < needed:
        problem = f"{needed} processes on this node need a CUDA device each, but there are {present}"
        raise ConfigError("runtime.device", asked, f"{problem}: start fewer (--nproc-per-node) or use cpu")
    return torch.device("cuda", torchrun.local_rank())


def choose_compilation(
    config: RuntimeConfig, device: torch.device, num_steps: int | None
) -> tuple[bool, tuple[str, ...]]:
    """Return whether to compile networks, and a message if they are unexpectedly not compiled. By default they are
    compiled on CUDA if the machine can compile and the training is long enough to gain from it.

    Raises `ConfigError` if `config.compile` is true and networks cannot be compiled.
    """
    asked = config.compile or config.cuda_graphs
    if config.compile is False or not (asked or device.type == "cuda"):
        return False, ()
    if config.deterministic:
        if config.compile:
            problem = "kernels are chosen by timing them: must be false or null with runtime.deterministic=true"
            raise ConfigError("runtime.compile", True, problem)
        return False, ()
    missing = missing_for_compilation(device.type)
    if missing and config.compile:
        raise ConfigError("runtime.compile", True, f"{missing}: install it, or leave runtime.compile null")
    if not missing and (asked or num_steps is None or num_steps >= STEPS_WORTH_COMPILING):
        return True, ()
    short = f"compilation pays from {STEPS_WORTH_COMPILING} steps on, and there are {num_steps}"
    fallback = f"networks are not compiled: {missing or short}"
    log.log(logging.WARNING if missing else logging.INFO, "%s", fallback)
    return False, (fallback,)


def set_deterministic(wanted: bool) -> None:
    """Make computations on CUDA in this process deterministic if `wanted`, or else as fast as possible.

    Call it before the first matrix product on CUDA, because cuBLAS reads CUBLAS_WORKSPACE_CONFIG once. If `wanted`,
    torch raises a `RuntimeError` in any operation that has no deterministic form. Raises `ConfigError` if that variable
    has a value that allows sums in any order.
    """
    if wanted and os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACES[0]) not in CUBLAS_WORKSPACES:
        given, allowed = os.environ["CUBLAS_WORKSPACE_CONFIG"], " or ".join(CUBLAS_WORKSPACES)
        problem = f"CUBLAS_WORKSPACE_CONFIG is {given!r} in the environment: must be {allowed}, or unset"
        raise ConfigError("runtime.deterministic", True, problem)
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.benchmark = not wanted  # the benchmark chooses kernels by timing them
    torch.backends.cuda.enable_flash_sdp(not wanted)  # what remains is attention by matrix products and a softmax
    torch.backends.cuda.enable_mem_efficient_sdp(not wanted)
    torch.backends.cuda.enable_cudnn_sdp(not wanted)


def free_memory(device: torch.device) -> int:
    """Return how many bytes can still be allocated on a device, including those that torch has reserved but not used.

    For the CPU, see `bench.machine.memory.available_memory`.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return available_memory()


def has_bf16(device: torch.device) -> bool:
    """Return whether the hardware has bf16 arithmetic, so that bf16 is fast and not emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    cpu = torch.backends.cpu.get_cpu_capability()
    return cpu.startswith("AVX512") and "avx512_bf16" in _cpu_flags()


def _cpu_flags() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line for line in lines if line.startswith("flags")), "")
