"""Device and precision: `RuntimeConfig` resolved on this machine, with every fallback logged and recorded."""

import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.config import RuntimeConfig
from bench.errors import ConfigError
from bench.machine import distributed, torchrun
from bench.machine.memory import available_memory

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""A callback for (done, total) as a stage advances, cheap enough to be called at every step."""


def silent(done: int, total: int) -> None:
    """Ignore progress: the callback of a caller that shows none."""


@dataclass(frozen=True)
class Runtime:
    """Where networks run, and how.

    autocast: torch.bfloat16, or None for plain float32. compile: whether networks are compiled. cuda_graphs: whether
    compiled networks are replayed as CUDA graphs. ordered_gradients: whether processes add up gradients in rank order.
    """

    device: torch.device
    autocast: torch.dtype | None
    compile: bool
    cuda_graphs: bool = False
    ordered_gradients: bool = False

    @property
    def precision(self) -> str:
        """Return the name of the precision in ledgers: bf16 or fp32."""
        return "bf16" if self.autocast is torch.bfloat16 else "fp32"

    def facts(self) -> dict[str, Any]:
        """Return what a ledger row records about the machine."""
        cuda = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if cuda else "cpu",
            "processor": platform.processor() or platform.machine(),
            "num_threads": torch.get_num_threads(),
            "precision": self.precision,
            "compile": self.compile,
            "cuda_graphs": self.cuda_graphs,
        }


def resolve_runtime(config: RuntimeConfig) -> Runtime:
    """Choose device and precision. Raises `ConfigError` if the machine lacks what the configuration names."""
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
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    autocast = torch.bfloat16 if config.precision == "bf16" else None
    if config.precision == "auto" and has_bf16(device):
        autocast = torch.bfloat16
    compile_ = config.compile if config.compile is not None else device.type == "cuda"
    if config.cuda_graphs and not (compile_ and device.type == "cuda"):
        problem = f"the device is {device}" if device.type != "cuda" else "runtime.compile is false"
        raise ConfigError("runtime.cuda_graphs", True, f"needs compiled networks on CUDA, but {problem}: must be false")
    return Runtime(device, autocast, compile_, config.cuda_graphs, config.ordered_gradients)


def own_device(asked: str) -> torch.device:
    """Return the CUDA device of this process among those that torch's launcher started on this node, one each.

    Raises `ConfigError`, in all of them, if there are fewer devices, or if `asked` is one device for all.
    """
    if torch.device(asked if asked != "auto" else "cuda").index is not None:
        raise ConfigError("runtime.device", asked, "several processes cannot share a device: must be cuda or auto")
    needed, present = torchrun.num_local_processes(), torch.cuda.device_count()
    if present < needed:
        problem = f"{needed} processes on this node need a CUDA device each, and there are {present}"
        raise ConfigError("runtime.device", asked, f"{problem}: start fewer (--nproc-per-node) or use cpu")
    return torch.device("cuda", torchrun.local_rank())


def free_memory(device: torch.device) -> int:
    """Return how many bytes can still be allocated on a device, including those that torch has reserved and not used.

    For the CPU see `bench.machine.memory.available_memory`.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return available_memory()


def has_bf16(device: torch.device) -> bool:
    """Return whether the hardware has bf16 arithmetic, so that it is fast and not emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    cpu = torch.backends.cpu.get_cpu_capability()
    return cpu.startswith("AVX512") and "avx512_bf16" in _cpu_flags()


def _cpu_flags() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line for line in lines if line.startswith("flags")), "")
