"""A CUDA device that is not there: for tests that run in a process of their own, started by `run`.

The process preloads a library that claims one device, so that torch's autograd accepts tensors that say they are on
CUDA; what else torch would ask such a device is answered here.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from bench.machine import interrupt

HERE = Path(__file__).parent


def run(script: str, folder: Path, *arguments: str, timeout: int = 300) -> Any:
    """Return the JSON that a script of this folder prints last, in a process that takes itself to have a CUDA device.

    Skips the test where there is no C compiler or torch is not built for CUDA 13, whose structures are pretended.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not (torch.version.cuda or "").startswith("13"):
        pytest.skip("needs a C compiler and a build of torch for CUDA 13 (no device)")
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-w", HERE / "pretended_cuda.c", "-o", library], check=True)
    paths = {"LD_PRELOAD": str(library), "LD_LIBRARY_PATH": str(folder), "OMP_NUM_THREADS": "1"}
    paths |= {f"{name}_CACHE_DIR": str(folder / name.lower()) for name in ("TORCHINDUCTOR", "TRITON")}
    paths["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE.parent.parent)])
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **paths}, capture_output=True, text=True, timeout=timeout, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def device(capability: tuple[int, int] = (9, 0)) -> Iterator[None]:
    """Answer what torch asks about a device, without any."""
    answers = {
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.is_bf16_supported": lambda *a, **k: True,
        "torch.cuda.get_device_capability": lambda *a: capability,
        "torch.cuda.get_device_name": lambda *a: "a pretended GPU",
        "torch.cuda.mem_get_info": lambda *a: (70 << 30, 80 << 30),
        "torch.cuda.memory_reserved": lambda *a: 0,
        "torch.cuda.memory_allocated": lambda *a: 0,
        "torch.cuda.empty_cache": lambda: None,
        "torch.cuda.manual_seed_all": lambda seed: None,
        "torch.accelerator.current_stream": lambda *a: SimpleNamespace(is_capturing=lambda: False),
        "torch.Tensor.pin_memory": lambda self, *a: self,
        "torch.nn.Module._apply": apply,
    }
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch(name, answer))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))  # the tensors' modes are of one thread
        yield


def apply(
    self: torch.nn.Module, change: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
) -> torch.nn.Module:
    """Stand for `Module._apply`, which `Module.to` calls: new parameters, because the old ones cannot change device."""
    for module in self.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(change(weight.detach()), weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = change(buffer)
    return self


def failure(work: Callable[[], Any]) -> str:
    """Return the error of some work, "" if there is none."""
    try:
        work()
    except (Exception, interrupt.Interrupted) as error:
        return f"{type(error).__name__}: {error}"
    return ""
