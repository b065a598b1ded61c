"""The training step of the headline network compiled as on CUDA, down to machine code; run by test_kernels.py. Prints
JSON.

`torch.compile` gets the network as `place` gives it to it, on CUDA tensors without contents: it captures one graph,
makes its backward, and writes Triton kernels for both. Their code, for the first of the settings that a device would
choose from by timing, is translated for each kind of GPU by the ptxas inside the package triton. Nothing is launched.

Out of reach without a device, and so left out: constant folding and the patterns that inductor fuses, both of which
compute on the device, what cuDNN and cuBLAS do, and the choices that are made by timing.
"""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pretended
import torch
import torch._dynamo.utils
import torch._functorch.config
import torch._inductor.config
from shrunk import composed
from torch import nn
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.codecache import PyCodeCache
from torch._inductor.output_code import CompiledFxGraph
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from bench.generators.ddpm.process import build_process
from bench.generators.shared.unet import Network, build_unet, place
from bench.machine.device import Runtime, resolve_runtime

CONFIG = composed("experiment=flowers64", "runtime.device=cuda", "runtime.compile=true", "runtime.cuda_graphs=false")
TARGETS = {"sm_80": 80, "sm_90": 90, "sm_100": 100}
"""A100, H100 and B200, by the names of their instruction sets."""
NO_SUCH_TARGET = 35
"""A GPU that ptxas no longer knows: what a failure looks like."""
WAITS = ("_local_scalar_dense", "nonzero", "masked_select")
"""Operations for whose result, or its shape, the host waits. `fullgraph` lets them pass."""
SETTINGS = {
    "torch._functorch.config.force_non_lazy_backward_lowering": True,  # so that an error in the backward is raised
    "torch._inductor.config.force_disable_caches": True,
    "torch._inductor.config.compile_threads": 1,
    "torch._inductor.config.joint_graph_constant_folding": False,
    "torch._inductor.config.use_static_cuda_launcher": False,
    "torch._inductor.fx_passes.joint_graph.lazy_init": lambda device: None,
    "torch._inductor.runtime.triton_helpers.set_driver_to_gpu": lambda: None,
    "torch.accelerator.is_available": lambda: False,  # there is no stream to keep track of
}


class Compiled(Exception):
    """Everything is compiled, and would run next."""


class Compilation:
    """What `torch.compile` made while it was entered. kernels: name -> Triton source. graphs: forward, backward."""

    def __init__(self) -> None:
        self.kernels: dict[str, str] = {}
        self.graphs: list[dict[str, Any]] = []

    def note_graph(self, graph: torch.fx.Graph) -> None:
        """Count the convolutions of a graph, the types that they return, and what waits."""
        found = [node for node in graph.nodes if "convolution" in str(node.target)]
        first = [node.meta["val"][0] if isinstance(node.meta["val"], tuple) else node.meta["val"] for node in found]
        first = [value for value in first if value is not None]
        attention = Counter(str(node.target) for node in graph.nodes if "scaled_dot_product" in str(node.target))
        dtypes = sorted({str(value.dtype) for value in first})
        about = {"convolutions": len(found), "dtypes": dtypes}
        waits = [str(node.target) for node in graph.nodes if any(word in str(node.target) for word in WAITS)]
        self.graphs.append({**about, "attention": dict(attention), "waits": waits})

    def note_kernel(self, compiler: AsyncCompile, name: str, source: str, device_str: str = "cuda") -> str:
        """Stand for the function that compiles a kernel."""
        self.kernels[name] = source
        return name


def compiled(call: Callable[[], Any]) -> Compilation:
    """Return what torch compiles in a call. Raises the error of the compilation, if there is one."""

    def reached(self: CompiledFxGraph, inputs: Any) -> None:
        raise Compiled

    found = Compilation()
    torch.compiler.reset()
    patches = (
        mock.patch.object(AsyncCompile, "triton", lambda *a, **k: found.note_kernel(*a, **k)),
        mock.patch("torch._inductor.config.post_grad_custom_post_pass", found.note_graph),
        mock.patch.object(CompiledFxGraph, "__call__", reached),
    )
    with patches[0], patches[1], patches[2], contextlib.suppress(Compiled):
        call()
    return found


def machine_code(name: str, source: str, capability: int) -> Any:
    """Return what Triton makes of a kernel for one kind of GPU: its PTX and its machine code, by name."""
    tuner = getattr(PyCodeCache.load(source), name)
    return tuner._precompile_config(tuner.configs[0], cc_override=capability).kernel.asm


class Wrong(nn.Module):
    """A network with something wrong in it."""

    def __init__(self, wrong: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.convolution, self.wrong = nn.Conv2d(3, 3, 1), wrong

    def forward(self, x: torch.Tensor, t: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        return (self.wrong(self.convolution(x)),)


WRONG: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "host": lambda x: x * torch.ones(64),
    "reading": lambda x: x * x.argmax().item(),
    "shape": lambda x: x * torch.masked_select(x, x > 0).sum(),
}
"""Errors planted in the network."""


def outcome(work: Callable[[], Any]) -> str:
    """Return the error of some work, or in words what waits in the graphs that it compiled."""
    try:
        made = work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return " ".join(wait for graph in made.graphs for wait in graph["waits"])


@contextlib.contextmanager
def compiler() -> Iterator[None]:
    """Let torch compile for a device that is not there."""
    target = SimpleNamespace(get_current_target=lambda: GPUTarget("cuda", 90, 32), get_current_device=lambda: 0)
    driver.set_active(target)
    with pretended.device(), contextlib.ExitStack() as stack:
        for name, value in SETTINGS.items():
            stack.enter_context(mock.patch(name, value))
        yield


def main(names: list[str]) -> dict[str, Any]:
    torch.set_num_threads(1)
    generator: Any = CONFIG.generator
    found: dict[str, Any] = {}
    unet = build_unet(generator.unet, 64, 0).train()
    with compiler():
        runtime = resolve_runtime(CONFIG.runtime)
        found["runtime"] = [str(runtime.device), runtime.precision, runtime.compile]

        def step(network: Network, runtime: Runtime = runtime) -> None:
            x0 = torch.zeros(generator.training.batch_size, 3, 64, 64, device=runtime.device)
            t = torch.zeros(len(x0), dtype=torch.int64, device=runtime.device)
            with runtime.mixed_precision():
                build_process(generator.noise, runtime.device).loss(network, x0, x0, t).backward()

        with FakeTensorMode(allow_non_fake_inputs=True):
            for name, wrong in WRONG.items():
                found[name] = outcome(lambda wrong=wrong: compiled(lambda: step(place(Wrong(wrong), runtime))))
            torch._dynamo.utils.counters.clear()
            made = compiled(lambda: step(place(unet, runtime)))
            found["captured"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        found["graphs"] = made.graphs
        found["kernels"] = len(made.kernels)
        for target in names:
            codes = [machine_code(name, source, TARGETS[target]) for name, source in made.kernels.items()]
            suits = [f".target {target}" in code["ptx"] and code["cubin"][:4] == b"\x7fELF" for code in codes]
            found[target] = sum(suits)
        name, source = next(iter(made.kernels.items()))
        found["no such target"] = outcome(lambda: machine_code(name, source, NO_SUCH_TARGET))
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
