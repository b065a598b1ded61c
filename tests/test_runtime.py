"""What `resolve` sets for the process."""

import contextlib
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from bench.config import RuntimeConfig
from bench.errors import ConfigError
from bench.runtime import resolve

FAULTS = """
import resource, torch
from bench.config import RuntimeConfig
from bench.runtime import resolve
resolve(RuntimeConfig(device="cpu"))
def step():
    for _ in range(4):
        kept = [torch.zeros(3_000_000) for _ in range(4)]  # 12 MB each
        del kept
step(), step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is what is set")
def test_memory_that_is_freed_is_used_again():
    """Else the system mostly zeroes every page anew: up to 3000 faults for each of these tensors."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100


@contextlib.contextmanager
def restored_tf32() -> Iterator[None]:
    """`resolve` sets, for the process, what products and cuDNN may do on CUDA."""
    before = torch.get_float32_matmul_precision()
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled):
        yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("compiled", [None, True])
def test_graphs_are_refused_where_there_is_nothing_to_replay_them(compiled: bool | None):
    with pytest.raises(ConfigError, match=r"runtime\.cuda_graphs=True: .*the device is cpu"):
        resolve(RuntimeConfig(device="cpu", compile=compiled, cuda_graphs=True))


def test_graphs_are_of_compiled_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with restored_tf32():
        with pytest.raises(ConfigError, match=r"runtime\.cuda_graphs=True: .*runtime\.compile is false"):
            resolve(RuntimeConfig(device="cuda", compile=False, cuda_graphs=True))
        assert resolve(RuntimeConfig(device="cuda", cuda_graphs=True)).cuda_graphs
