"""The weights of a network in training as one vector, so that what is done to all of them is one operation.

A small network has a hundred of them, and to clip, update, average and round each on its own takes as long as a third
of its products.
"""

import copy

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from bench.generators.network import compiled, fit_to
from bench.generators.upsampling import MergedUpsample2D
from bench.runtime import Runtime

ALIGNED = 64
"""Elements to which the start of each weight is rounded up: kernels read from the start of a cache line."""


class Weights:
    """network: what to call in training. vector: float32 (p,), what an optimiser changes. gradient: float32 (p,),
    likewise. The unet given keeps its names, on the device of the runtime, and its weights become views of the vector.

    Under autocast to bf16 the network reads the weights of convolutions and linear layers from a second vector, which
    `refresh` rounds from the first: the numbers that autocast would make of each weight in each pass. What is between
    two weights in a vector is 0, and stays so.
    """

    def __init__(self, unet: UNet2DModel, runtime: Runtime) -> None:
        fit_to(unet, runtime)
        parameters = dict(unet.named_parameters())
        rounded = _rounded(unet) if runtime.autocast is torch.bfloat16 else set()
        self._names = sorted(parameters, key=lambda name: name not in rounded)  # those first; else as they come
        self._num_rounded = len(rounded)
        self._layout: dict[str, tuple[torch.Size, tuple[int, ...], int]] = {}
        size = end_of_rounded = 0
        for index, name in enumerate(self._names):
            weight = parameters[name]
            self._layout[name] = (weight.shape, weight.stride(), size)  # dense, in whichever order of dimensions
            size += -(-weight.numel() // ALIGNED) * ALIGNED
            end_of_rounded = size if index < self._num_rounded else end_of_rounded
        self.vector = nn.Parameter(torch.zeros(size, device=runtime.device))
        self.gradient = torch.zeros_like(self.vector)
        self._low = torch.zeros(end_of_rounded, dtype=torch.bfloat16, device=runtime.device)

        views = self.named(self.vector.detach())
        for name, view in views.items():
            view.copy_(parameters[name].detach())
            parameters[name].data = view
        module = copy.deepcopy(unet) if rounded else unet
        read = dict(module.named_parameters())
        for name, view in views.items():
            read[name].data = self._view(self._low, name) if name in rounded else view
        self._read = [read[name] for name in self._names]
        self._gradients = list(self.named(self.gradient).values())
        self.refresh()
        self.network = compiled(module, runtime)

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector like `vector` as tensors of their shape, by the names of the weights; views."""
        return {name: self._view(vector, name) for name in self._names}

    def refresh(self) -> None:
        """To be called when `vector` has changed."""
        self._low.copy_(self.vector.detach()[: len(self._low)])

    def add_gradient(self, loss: Tensor, first: bool) -> None:
        """Adds that of the loss to `gradient`, which is forgotten before the first."""
        found = torch.autograd.grad(loss, self._read)
        end = self._num_rounded
        for part in (slice(0, end), slice(end, None)):  # each of one type
            if not found[part]:
                continue
            if first:
                torch._foreach_copy_(self._gradients[part], found[part])
            else:
                torch._foreach_add_(self._gradients[part], [g.float() for g in found[part]])

    def gradient_norm(self) -> Tensor:
        """The Euclidean norm of `gradient`, float32 (). In two stages, the second in float64: torch's own sum over a
        long vector in float32 is short by 0.2 % for 37 million entries on the CPU."""
        parts = torch.linalg.vector_norm(self.gradient.view(-1, ALIGNED), dim=1)
        return torch.linalg.vector_norm(parts, dtype=torch.float64).float()

    def _view(self, vector: Tensor, name: str) -> Tensor:
        return vector.as_strided(*self._layout[name])


def _rounded(unet: nn.Module) -> set[str]:
    """Names of the weights that autocast rounds whole: a merged convolution adds its taps first."""
    merged = {id(module.conv) for module in unet.modules() if isinstance(module, MergedUpsample2D)}
    layers = ((name, m) for name, m in unet.named_modules() if isinstance(m, nn.Conv2d | nn.Linear))
    return {
        f"{name}.{own}" for name, m in layers if id(m) not in merged for own, _ in m.named_parameters(recurse=False)
    }
