"""Both sides of the sampling row evaluate the network equally often, on batches of one size."""

from pathlib import Path
from typing import Any

import pytest
from diffusers.models.unets.unet_2d import UNet2DModel

from bench import generators
from bench.config import RuntimeConfig, register_schemas
from bench.datasets import load_real
from bench.machine.device import resolve_runtime
from bench.perf import compare_sampling
from bench.protocols import compose_config

OVERRIDES = ("generator.unet.channels=[8,16]", "generator.sampling.num_steps=4")


def test_equal_network_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_schemas()
    config = compose_config(["experiment=quick", "generator.training.num_steps=1", *OVERRIDES])
    images, model, runtime = load_real(config.data).train.items, tmp_path / "model", resolve_runtime(RuntimeConfig())
    generators.fit(config.generator, images, seed=0, out=model, work=tmp_path / "work", runtime=runtime)
    sizes: list[int] = []
    forward = UNet2DModel.forward

    def counted(self: UNet2DModel, sample: Any, *arguments: Any, **named: Any) -> Any:
        sizes.append(len(sample))
        return forward(self, sample, *arguments, **named)

    monkeypatch.setattr(UNet2DModel, "forward", counted)
    for make in (compare_sampling.our_turn, compare_sampling.ddim_turn):
        seconds, _ = make(config.generator, model, 64)()
        assert sizes == [compare_sampling.BATCH] * (2 * 4) and seconds > 0
        sizes.clear()


@pytest.mark.slow  # `make perf-short` runs the row
def test_a_row():
    row = compare_sampling.compare(num_images=32, num_pairs=1, overrides=OVERRIDES)
    assert row.notes["network_evaluations"] == 4 and row.notes["gflop_per_second"] > 0
    assert len(row.ours) == len(row.theirs) == 1 and min(row.ours) > 0 and row.target == 1.7
