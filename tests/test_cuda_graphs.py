"""CUDA graphs are used by themselves only where they pay and have replayed right values; tried with stand-ins."""

import logging
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import device_tests
import pytest
import torch
from configs import UNetConfig
from torch import nn

from bench.config import RuntimeConfig
from bench.generators.shared.unet import build_unet, compiled
from bench.machine import cuda_graphs
from bench.machine.device import Runtime, resolve_runtime

Call = Callable[[torch.Tensor], torch.Tensor]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_is_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "found", {})


def with_old_input(network: nn.Module) -> Call:
    kept: list[torch.Tensor] = []

    def call(batch: torch.Tensor) -> torch.Tensor:
        kept.append(batch)
        return network(kept[max(0, len(kept) - 3)])

    return call


def with_old_weights(network: nn.Module) -> Call:
    before = deepcopy(network)
    return lambda batch: network(batch) + (before(batch) - network(batch)).detach()


def with_old_gradients(network: nn.Module) -> Call:
    before = deepcopy(network)

    def call(batch: torch.Tensor) -> torch.Tensor:
        output = torch.func.functional_call(network, dict(before.named_parameters()), batch)
        return network(batch).detach() + output - output.detach()

    return call


def with_nan(network: nn.Module) -> Call:
    return lambda batch: network(batch) * float("nan")


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_right_values_pass(autocast: torch.dtype | None) -> None:
    assert cuda_graphs.wrong_values(CPU, autocast, lambda network: network) is None


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize("wrong", [with_old_input, with_old_weights, with_old_gradients, with_nan])
def test_wrong_values_do_not(autocast: torch.dtype | None, wrong: Callable[[nn.Module], Call]) -> None:
    assert "a replayed network differs from the plain one" in str(cuda_graphs.wrong_values(CPU, autocast, wrong))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return the options of each compilation; what is compiled runs as it is."""
    options: list[Any] = []

    def compile_(network: nn.Module, **how: Any) -> nn.Module:
        options.append(how["options"])
        return network

    monkeypatch.setattr(torch, "compile", compile_)
    yield options


def network(width: int) -> nn.Module:
    return build_unet(UNetConfig([width, width], [False, False], 1), 8, 0)


AUTOMATIC = Runtime(CPU, None, compile=True, cuda_graphs=None)


def test_small_networks_are_replayed_once_the_check_has_passed(asked: list[Any]) -> None:
    for _ in range(2):
        compiled(network(8), AUTOMATIC)
    check, *networks = asked
    assert check["triton.cudagraph_or_error"], "a check that runs without graphs checks nothing"
    assert networks == [{"triton.cudagraphs": True, "triton.cudagraph_or_error": False}] * 2, "checked once a process"
    assert AUTOMATIC.facts()["cuda_graphs"] == "small networks" and AUTOMATIC.facts()["fallbacks"] == []


def test_large_networks_are_not_and_cost_no_check(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_PARAMETERS", 1000)
    compiled(network(8), AUTOMATIC)
    assert asked == [None]


def test_where_the_check_fails_networks_run_without_and_log_and_ledger_say_so(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cuda_graphs, "wrong_values", lambda *arguments: "step 3 differs")
    with caplog.at_level(logging.WARNING):
        compiled(network(8), AUTOMATIC)
        compiled(network(8), AUTOMATIC)
    assert asked == [None, None]
    assert caplog.messages == ["CUDA graphs are not used: step 3 differs"]
    facts = AUTOMATIC.facts()
    assert (facts["cuda_graphs"], facts["fallbacks"]) == (False, ["CUDA graphs are not used: step 3 differs"])


def test_an_error_of_the_check_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **how: Any) -> None:
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(torch, "compile", broken)
    assert not AUTOMATIC.replays(network(8))
    assert AUTOMATIC.facts()["fallbacks"] == ["CUDA graphs are not used: RuntimeError: no kernel image"]


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_asked_for_is_not_checked(asked: list[Any], wanted: bool) -> None:
    compiled(network(8), Runtime(CPU, None, compile=True, cuda_graphs=wanted))
    assert asked == [{"triton.cudagraphs": True, "triton.cudagraph_or_error": True} if wanted else None]


@device_tests.on_device
@device_tests.not_rehearsed
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_the_check_passes_on_this_device(autocast: torch.dtype | None) -> None:
    resolve_runtime(RuntimeConfig(device="cuda"))  # without TF32, which rounds more than the check allows
    assert cuda_graphs.problem(torch.device("cuda"), autocast) is None
