"""`resolve_runtime` chooses device and precision, and sets the threads and TF32 of the process."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bench.config import RuntimeConfig
from bench.errors import ConfigError
from bench.machine import distributed
from bench.machine.device import Runtime, free_memory, has_bf16, resolve_runtime


@contextlib.contextmanager
def restored_tf32() -> Iterator[None]:
    """Restore the precision of matrix products and cuDNN on CUDA, which `resolve_runtime` sets for the process."""
    before = torch.get_float32_matmul_precision()
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled):
        yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("compiled", [None, True])
def test_graphs_are_refused_where_there_is_nothing_to_replay_them(compiled: bool | None):
    with pytest.raises(ConfigError, match=r"runtime\.cuda_graphs=True: .*the device is cpu"):
        resolve_runtime(RuntimeConfig(device="cpu", compile=compiled, cuda_graphs=True))


def test_graphs_are_of_compiled_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with restored_tf32():
        with pytest.raises(ConfigError, match=r"runtime\.cuda_graphs=True: .*runtime\.compile is false"):
            resolve_runtime(RuntimeConfig(device="cuda", compile=False, cuda_graphs=True))
        assert resolve_runtime(RuntimeConfig(device="cuda", cuda_graphs=True)).cuda_graphs


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[tuple[int, int] | None], None]]:
    """gpu(capability): pretend that the machine has such a CUDA device, or none for None."""

    def pretend(capability: tuple[int, int] | None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")

    threads = torch.get_num_threads()
    with restored_tf32():
        yield pretend
    torch.set_num_threads(threads)


@pytest.fixture
def system_file(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """system_file(path, text): pretend that a file has this text."""
    texts: dict[str, str] = {}
    real = Path.read_text

    def read_text(self: Path, *args: object, **kw: object) -> str:
        return texts[str(self)] if str(self) in texts else real(self, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", read_text)
    return texts.__setitem__


def cpu_of(monkeypatch: pytest.MonkeyPatch, system_file: Callable[[str, str], None], capability: str, flags: str):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    system_file("/proc/cpuinfo", f"processor : 0\nflags : fpu sse {flags}\nbugs : none\n\nprocessor : 1\nflags : x\n")


def test_auto_takes_cuda_where_there_is_one_and_a_name_is_a_demand(gpu: Callable[..., None], caplog):
    caplog.set_level("INFO")
    gpu(None)
    assert resolve_runtime(RuntimeConfig()).device == torch.device("cpu")
    assert "runtime.device=auto: using cpu" in caplog.text
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ConfigError, match=rf"runtime\.device='{name}': there is no CUDA device"):
            resolve_runtime(RuntimeConfig(device=name))
    gpu((8, 0))
    assert resolve_runtime(RuntimeConfig()).device == torch.device("cuda")
    assert resolve_runtime(RuntimeConfig(device="cpu")).device == torch.device("cpu")
    assert resolve_runtime(RuntimeConfig(device="cuda:1")).device == torch.device("cuda:1")


def test_each_process_of_a_node_takes_a_device_of_its_own(gpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    chosen: list[torch.device] = []
    gpu((8, 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert resolve_runtime(RuntimeConfig()).device.index is None, "a process that runs alone uses torch's default"
    monkeypatch.setattr(distributed, "world_size", lambda: 8)  # on two nodes
    for name in ("auto", "cuda"):
        assert resolve_runtime(RuntimeConfig(device=name)).device.index == 3, name
    assert chosen == [torch.device("cuda:3")] * 2

    with pytest.raises(ConfigError, match=r"device='cuda:1': several processes cannot share a device"):
        resolve_runtime(RuntimeConfig(device="cuda:1"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"device='auto': 4 processes on this node need .* each, and there are 2"):
        resolve_runtime(RuntimeConfig())
    assert resolve_runtime(RuntimeConfig(device="cpu")).device.index is None
    assert len(chosen) == 2, "a run on the CPU touches no device"


def test_networks_are_compiled_on_cuda_by_default(gpu: Callable[..., None]):
    gpu((8, 0))
    for device, asked, expected in (
        ("cpu", None, False),
        ("cuda", None, True),
        ("cpu", True, True),
        ("cuda", False, False),
    ):
        runtime = resolve_runtime(RuntimeConfig(device=device, compile=asked))
        assert (runtime.compile, runtime.cuda_graphs) == (expected, False)


def test_precision(gpu: Callable[..., None], system_file: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch):
    gpu((9, 0))
    machines = (("AVX512", "avx512_bf16"), ("AVX512", "avx512bf16x"), ("AVX2", "avx512_bf16"))
    for (capability, flags), expected in zip(machines, ("bf16", "fp32", "fp32"), strict=True):
        cpu_of(monkeypatch, system_file, capability, flags)
        assert resolve_runtime(RuntimeConfig(device="cpu")).precision == expected
        for asked in ("fp32", "bf16"):
            assert resolve_runtime(RuntimeConfig(device="cpu", precision=asked)).precision == asked
    for capability, expected in (((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp32")):
        gpu(capability)
        assert resolve_runtime(RuntimeConfig(device="cuda")).precision == expected
        assert has_bf16(torch.device("cuda")) == (expected == "bf16")
    assert resolve_runtime(RuntimeConfig(device="cuda", precision="fp32")).autocast is None


def test_fast_products_on_cuda(gpu: Callable[..., None]):
    gpu((8, 0))
    for device, expected in (("cpu", False), ("cuda", True)):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
        resolve_runtime(RuntimeConfig(device=device))
        flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
        assert flags == (expected,) * 3


def test_facts_are_those_of_the_machine(gpu: Callable[..., None]):
    gpu((9, 0))
    runtime = resolve_runtime(RuntimeConfig(device="cpu", precision="fp32", num_threads=1))
    facts = runtime.facts()
    assert (facts["device"], facts["precision"], facts["num_threads"]) == ("cpu", "fp32", 1)
    assert facts["processor"] in (platform.processor(), platform.machine()) and facts["processor"]
    assert (facts["compile"], facts["cuda_graphs"]) == (False, False)
    resolve_runtime(RuntimeConfig(device="cpu", num_threads=2))
    assert runtime.facts()["num_threads"] == 2
    resolve_runtime(RuntimeConfig(device="cpu"))
    assert runtime.facts()["num_threads"] == 2, "null leaves them as they are"
    there = Runtime(torch.device("cuda"), torch.bfloat16, True, True).facts()
    assert (there["device"], there["precision"]) == ("GPU cuda", "bf16")
    assert (there["compile"], there["cuda_graphs"]) == (True, True)


def test_free_memory_of_a_cuda_device_includes_memory_that_torch_reserves(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert free_memory(torch.device("cuda")) == 1000 + 300 - 100


def test_free_memory_of_the_cpu_is_the_estimate_of_linux(system_file: Callable[[str, str], None]):
    system_file("/proc/meminfo", "MemTotal:  900 kB\nMemFree:  20 kB\nMemAvailable:  70 kB\nCached: 10 kB\n")
    assert free_memory(torch.device("cpu")) == 70 * 1024
    system_file("/proc/meminfo", "MemTotal:  900 kB\n")
    assert free_memory(torch.device("cpu")) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
