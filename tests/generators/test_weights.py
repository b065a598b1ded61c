"""One vector of weights must be no other network, and no other gradient."""

import copy
from collections.abc import Iterator

import pytest
import torch

from bench.config import NoiseConfig, RuntimeConfig, UNetConfig
from bench.generators.network import Network, autocast, build_process, build_unet, place
from bench.generators.weights import ALIGNED, Weights
from bench.runtime import Runtime, resolve

UNET = UNetConfig([8, 16], [False, True], 1, attention_head_dim=8)


@pytest.fixture(params=["fp32", "bf16"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    yield resolve(RuntimeConfig(device="cpu", precision=request.param))


def test_loss_and_gradient_are_those_of_the_plain_network(runtime: Runtime) -> None:
    """Bit for bit: rounding all weights at once is what autocast does to each."""
    unet = build_unet(UNET, 8, seed=0).train()
    plain = copy.deepcopy(unet)
    weights, network = Weights(unet, runtime), place(plain, runtime)
    process = build_process(NoiseConfig(), runtime.device)
    random = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(4, 3, 8, 8, generator=random) for _ in range(2))
    t = torch.tensor([1, 300, 600, 999])
    with autocast(runtime):
        ours, theirs = process.loss(weights.network, x0, eps, t), process.loss(network, x0, eps, t)
    theirs.backward()  # type: ignore[no-untyped-call]
    weights.add_gradient(ours, first=True)
    assert ours.item() == theirs.item()
    gradient = weights.named(weights.gradient)
    for name, weight in plain.named_parameters():
        assert weight.grad is not None and torch.equal(gradient[name], weight.grad), name

    once = weights.gradient.clone()
    for first in (True, False):
        with autocast(runtime):
            weights.add_gradient(process.loss(weights.network, x0, eps, t), first)
    torch.testing.assert_close(weights.gradient, 2 * once)


def test_what_changes_the_vector_changes_the_network(runtime: Runtime) -> None:
    unet = build_unet(UNET, 8, seed=0)
    before = {name: weight.detach().clone() for name, weight in unet.named_parameters()}
    weights = Weights(unet, runtime)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([5, 500])

    def output(network: Network) -> torch.Tensor:
        with torch.no_grad(), autocast(runtime):  # which remembers weights until it is left
            return network(x, t).sample

    first = output(weights.network)
    weights.vector.detach().mul_(1.5)
    weights.refresh()
    second = output(weights.network)
    for weight in before.values():
        weight.mul_(1.5)
    plain = build_unet(UNET, 8, seed=1)
    plain.load_state_dict(before)
    wanted = output(place(plain, runtime))
    assert not torch.equal(first, second) and torch.equal(second, wanted)
    assert all(torch.equal(weight, before[name]) for name, weight in unet.named_parameters())


def test_weights_are_aligned_apart_and_with_zeros_between_them(runtime: Runtime) -> None:
    weights = Weights(build_unet(UNET, 8, seed=0), runtime)
    vector = torch.zeros_like(weights.vector.detach())
    named = weights.named(vector)
    for number, view in enumerate(named.values(), start=1):
        assert view.storage_offset() % ALIGNED == 0
        view.fill_(number)
    assert all((view == number).all() for number, view in enumerate(named.values(), start=1))
    between = vector == 0
    assert between.any() and not weights.vector.detach()[between].any()

    optimizer = torch.optim.AdamW([weights.vector], fused=True)
    weights.vector.grad = weights.gradient
    for _ in range(2):
        with autocast(runtime):
            loss = weights.network(torch.randn(2, 3, 8, 8), torch.tensor([5, 500])).sample.square().mean()
        weights.add_gradient(loss, first=True)
        optimizer.step()
        weights.refresh()
    state = optimizer.state[weights.vector]
    for changed in (weights.vector.detach(), weights.gradient, state["exp_avg"], state["exp_avg_sq"]):
        assert changed.any() and not changed[between].any()


def test_the_norm_of_a_long_gradient_is_exact() -> None:
    weights = Weights(
        build_unet(UNetConfig([64, 128], [False] * 2, 2), 8, seed=0), resolve(RuntimeConfig(device="cpu"))
    )
    weights.gradient.normal_(generator=torch.Generator().manual_seed(0))
    truth = weights.gradient.double().norm()
    assert len(weights.gradient) > 1e6
    assert weights.gradient_norm().item() == pytest.approx(truth.item(), rel=1e-7)


def test_the_memory_format_of_a_network_is_kept() -> None:
    """Channels last, as on a CUDA device."""
    unet = build_unet(UNET, 8, seed=0)
    values = {name: weight.detach().clone() for name, weight in unet.named_parameters()}
    unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = Weights(unet, resolve(RuntimeConfig(device="cpu", precision="bf16")))
    convolution = unet.conv_in.weight
    assert convolution.is_contiguous(memory_format=torch.channels_last) and not convolution.is_contiguous()
    assert all(torch.equal(view, values[name]) for name, view in weights.named(weights.vector.detach()).items())
