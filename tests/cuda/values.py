"""Tensors that compute on the CPU and say that they are on CUDA. They refuse to meet tensors that do not, and count
what would make the host wait for the device.

They cannot show errors of cuDNN or cuBLAS, rounding, races between streams, replays of graphs, or time.
"""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda:0")
READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal.default", "unique", "bincount", "is_nonzero")
"""Operations whose result, or its shape, the host must know."""
WITHOUT_ORDER = (
    "median.dim",
    "nanmedian.dim",
    "kthvalue",
    "histc",
    "nll_loss2d",
    "_bilinear2d_backward",
    "adaptive_avg_pool2d_backward",
)
"""Operations that torch refuses on CUDA under deterministic algorithms."""


class Value(torch.Tensor):
    """A tensor that says that it is on CUDA; its numbers are in `inner`, on the CPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Value":
        about = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, inner.size(), device=DEVICE, **about)

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    def __repr__(self, **kwargs: Any) -> str:
        return f"Value({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("tensors of the stand-in are used outside its mode")


class StandIn(TorchDispatchMode):
    """While it is entered, this thread has a CUDA device. waits: what made the host wait, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    def __enter__(self) -> "StandIn":
        torch._C._set_only_lift_cpu_tensors(
            True
        )  # torch.tensor(…, device="cuda") makes it on the CPU and then moves it
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        here = [x for x in tensors if isinstance(x, Value)]
        target = kwargs.get("device")
        to_device = torch.device(target).type == "cuda" if target is not None else bool(here)
        self.look(
            func,
            tensors,
            here,
            to_device,
            kwargs.get("non_blocking") or (func.__name__ == "copy_.default" and args[2:] == (True,)),
        )
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        args, kwargs = tree_map(_inner, (args, kwargs))
        result = func(*args, **kwargs)
        if func._schema.is_mutable:  # the tensor that was changed is returned: as the one that was given
            given = {id(_inner(x)): x for x in tensors}
            return tree_map(lambda x: given.get(id(x), x), result)
        return tree_map(lambda x: Value(x) if to_device and type(x) is torch.Tensor else x, result)

    def look(self, func: Any, tensors: list[Any], here: list[Any], to_device: bool, non_blocking: bool) -> None:
        """Refuse tensors of two devices in one operation, and count what waits."""
        name = str(func).removeprefix("aten.")
        away = [x for x in tensors if not isinstance(x, Value)]
        copies = name.startswith(("copy_", "_to_copy"))
        if here and any(x.dim() for x in away) and not copies:
            raise RuntimeError(f"{name}: tensors on cuda:0 and cpu meet")
        if not (here or to_device):
            return
        self.operations[name] += 1
        if torch.are_deterministic_algorithms_enabled() and any(word in name for word in WITHOUT_ORDER):
            raise RuntimeError(f"{name} does not have a deterministic implementation")
        masks = name.startswith("index") and any(x.dtype in (torch.bool, torch.uint8) for x in here[1:])
        crosses = copies and (bool(here) != to_device or (bool(here) and bool(away)))
        if any(word in name for word in READS) or masks or (crosses and not non_blocking):
            self.waits[name] += 1


def _inner(x: Any) -> Any:
    if isinstance(x, torch.device):
        return torch.device("cpu")
    return x.inner if isinstance(x, Value) else x
