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
from bench.machine import compiler, device, distributed
from bench.machine.device import Runtime, free_memory, has_bf16, resolve_runtime


@contextlib.contextmanager
def restored_settings() -> Iterator[None]:
    """Restore what `resolve_runtime` sets for CUDA in the process."""
    before = torch.get_float32_matmul_precision()
    kinds = ("flash", "mem_efficient", "cudnn")
    attention = [getattr(torch.backends.cuda, f"{kind}_sdp_enabled")() for kind in kinds]
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled):
        yield
    torch.set_float32_matmul_precision(before)
    torch.use_deterministic_algorithms(False)
    for kind, enabled in zip(kinds, attention, strict=True):
        getattr(torch.backends.cuda, f"enable_{kind}_sdp")(enabled)


@pytest.mark.parametrize("compiled", [None, True])
def test_graphs_are_refused_where_there_is_nothing_to_replay_them(compiled: bool | None):
    with pytest.raises(ConfigError, match=r"runtime\.cuda_graphs=True: .*the device is cpu"):
        resolve_runtime(RuntimeConfig(device="cpu", compile=compiled, cuda_graphs=True))


def test_graphs_are_of_compiled_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(device, "missing_for_compilation", lambda kind: None)
    with restored_settings():
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
    monkeypatch.setattr(device, "missing_for_compilation", lambda kind: None)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with restored_settings():
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
    with pytest.raises(ConfigError, match=r"device='auto': 4 processes on this node need .* each, but there are 2"):
        resolve_runtime(RuntimeConfig())
    assert resolve_runtime(RuntimeConfig(device="cpu")).device.index is None
    assert len(chosen) == 2, "a run on the CPU touches no device"


def test_networks_are_compiled_on_cuda_by_default(gpu: Callable[..., None]):
    gpu((8, 0))
    for kind, asked, expected, graphs in (
        ("cpu", None, False, False),
        ("cuda", None, True, None),
        ("cpu", True, True, False),
        ("cuda", False, False, False),
    ):
        runtime = resolve_runtime(RuntimeConfig(device=kind, compile=asked))
        assert (runtime.compile, runtime.cuda_graphs) == (expected, graphs)
    assert resolve_runtime(RuntimeConfig(device="cuda", cuda_graphs=False)).cuda_graphs is False


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


def settings() -> dict[str, bool]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return {
        "tf32": cuda.matmul.allow_tf32 or cudnn.allow_tf32,
        "timed": cudnn.benchmark,
        "ordered": cudnn.deterministic and torch.are_deterministic_algorithms_enabled(),
        "fused": cuda.flash_sdp_enabled() or cuda.mem_efficient_sdp_enabled() or cuda.cudnn_sdp_enabled(),
    }


def test_fp32_is_never_tf32_and_what_is_deterministic_is_neither_timed_nor_fused(gpu: Callable[..., None]):
    gpu((8, 0))
    fast = {"tf32": False, "timed": True, "ordered": False, "fused": True}
    steady = {"tf32": False, "timed": False, "ordered": True, "fused": False}
    for deterministic, expected in ((False, fast), (True, steady), (False, fast)):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        runtime = resolve_runtime(RuntimeConfig(device="cuda", deterministic=deterministic))
        assert settings() == expected
        assert (runtime.deterministic, runtime.compile) == (deterministic, not deterministic)
        assert runtime.draw_on.type == ("cpu" if deterministic else "cuda")
        assert ("deterministic" in runtime.arithmetic) == deterministic
        assert runtime.facts()["deterministic"] == deterministic


def test_the_settings_for_cuda_are_not_touched_on_the_cpu(gpu: Callable[..., None]):
    before = settings()
    runtime = resolve_runtime(RuntimeConfig(device="cpu", deterministic=True))
    assert settings() == before and runtime.arithmetic == {"device": "cpu", "precision": runtime.precision}


def test_what_makes_a_deterministic_run_impossible_is_named(gpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    gpu((8, 0))
    with pytest.raises(ConfigError, match=r"runtime\.compile=True: .*must be false or null"):
        resolve_runtime(RuntimeConfig(device="cuda", deterministic=True, compile=True))
    with pytest.raises(ConfigError, match=r"runtime\.cuda_graphs=True"):
        resolve_runtime(RuntimeConfig(device="cuda", deterministic=True, cuda_graphs=True))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(ConfigError, match=r"CUBLAS_WORKSPACE_CONFIG is ':0:0'.*must be :4096:8 or :16:8"):
        resolve_runtime(RuntimeConfig(device="cuda", deterministic=True))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert resolve_runtime(RuntimeConfig(device="cuda", deterministic=True)).deterministic
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    resolve_runtime(RuntimeConfig(device="cuda", deterministic=True))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_without_a_compiler_the_default_falls_back_and_a_demand_is_refused(
    gpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    gpu((8, 0))
    monkeypatch.setattr(device, "missing_for_compilation", lambda kind: "there is no C compiler (gcc)")
    runtime = resolve_runtime(RuntimeConfig(device="cuda"))
    assert not runtime.compile and "compile" not in runtime.arithmetic
    assert runtime.facts()["fallbacks"] == ["networks are not compiled: there is no C compiler (gcc)"]
    assert "networks are not compiled: there is no C compiler (gcc)" in caplog.text
    for kind in ("cuda", "cpu"):
        with pytest.raises(ConfigError, match=r"runtime\.compile=True: there is no C compiler"):
            resolve_runtime(RuntimeConfig(device=kind, compile=True))


def test_a_short_training_is_compiled_only_if_asked(gpu: Callable[..., None]):
    gpu((8, 0))
    few = device.STEPS_WORTH_COMPILING - 1
    for num_steps, asked, expected in ((few, {}, False), (few + 1, {}, True), (few, {"compile": True}, True)):
        runtime = resolve_runtime(RuntimeConfig(device="cuda", **asked), num_steps)
        assert runtime.compile == expected and bool(runtime.fallbacks) == (not expected)
    assert resolve_runtime(RuntimeConfig(device="cuda", cuda_graphs=True), few).compile, "graphs are of compiled code"
    assert not resolve_runtime(RuntimeConfig(device="cpu"), few + 1).compile


def test_the_probe_runs_the_compiler_on_the_headers_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    probe = compiler.missing_for_compilation.__wrapped__
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)
    assert probe("cuda") == "the package triton is not installed"
    monkeypatch.setattr(compiler, "find_spec", lambda name: name)
    monkeypatch.setenv("CC", str(tmp_path / "nowhere"))
    assert probe("cuda") == f"there is no C compiler ({tmp_path}/nowhere)"
    working = tmp_path / "cc"
    working.write_text("#!/bin/sh\ngrep -q Python.h && [ -d ${4#-I} ] || { echo no headers >&2; exit 1; }\n")
    working.chmod(0o755)
    for variable, kind in (("CC", "cuda"), ("CXX", "cpu")):
        monkeypatch.setenv(variable, str(working))
        assert probe(kind) is None
    monkeypatch.setattr(compiler.sysconfig, "get_paths", lambda: {"include": str(tmp_path / "no_headers")})
    assert probe("cpu") == f"{working} does not compile against Python's headers (no headers)"


def test_facts_are_those_of_the_machine(gpu: Callable[..., None]):
    gpu((9, 0))
    runtime = resolve_runtime(RuntimeConfig(device="cpu", precision="fp32", num_threads=1))
    facts = runtime.facts()
    assert (facts["device"], facts["precision"], facts["num_threads"]) == ("cpu", "fp32", 1)
    assert facts["processor"] in (platform.processor(), platform.machine()) and facts["processor"]
    assert facts["cpu_capability"]
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


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_networks_are_evaluated_in_the_precision_of_the_runtime(autocast: torch.dtype | None):
    runtime = Runtime(torch.device("cpu"), autocast, compile=False)
    matrix = torch.ones(2, 2)
    with runtime.mixed_precision():
        assert (matrix @ matrix).dtype == (autocast or torch.float32)
    assert (matrix @ matrix).dtype == torch.float32
