"""What only a device can show: features, the headline step, memory, and processes that exchange gradients over NCCL.

Equal bytes, resumption, graphs, sampling and scores on CUDA stand beside what they are of: test_fit.py,
test_sampling_cuda.py, test_batches.py, test_scale.py.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import device_tests
import numpy as np
import pytest
import random_inception
import ranks
import torch
import torch.distributed as dist
from tiny_chain import tiny as tiny_config

from bench import generators
from bench.config import RuntimeConfig
from bench.errors import TrainingError
from bench.features.shared.extraction import FeatureSpace, extract, load_feature_space
from bench.generators.ddpm.training import DDPMTraining
from bench.generators.shared.gradients import GradientExchange
from bench.machine import distributed
from bench.machine.device import Runtime, resolve_runtime, set_deterministic
from bench.perf.training_memory import training_memory

KIND = device_tests.KIND
pytestmark = device_tests.marks
CHOSEN = device_tests.headline("generator.unet.dropout=0")
HEADLINE: Any = CHOSEN.generator
"""Without dropout, whose masks depend on the number of passes and on compilation."""
PLAIN = Runtime(torch.device(KIND), torch.bfloat16, compile=False)


def pictures(num: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num, 3, size, size)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Weights of each feature space that needs a file: drawn ones."""
    path = random_inception.write(tmp_path_factory.mktemp("weights") / "inception.pth")
    return {"inception_v3": str(path), "efficientnet_lite0": None, "pixels": None}


def space(name: str, weights: dict[str, str | None], kind: str) -> FeatureSpace:
    return load_feature_space(name, Runtime(torch.device(kind), torch.bfloat16, compile=False), weights[name])


@pytest.mark.parametrize("name", ["inception_v3", "efficientnet_lite0", "pixels"])
def test_features_are_those_of_the_cpu(name: str, weights: dict[str, str | None]) -> None:
    images = pictures(70)  # two tiles
    on_cpu, here = (extract(space(name, weights, kind), images) for kind in ("cpu", KIND))
    spread = on_cpu.std(axis=0).mean()
    assert spread > 0 and np.abs(on_cpu - here).mean() < 1e-3 * spread, "TF32 or bf16 would differ by more"


@pytest.mark.parametrize("name", ["inception_v3", "efficientnet_lite0"])
def test_a_feature_does_not_depend_on_its_neighbours(name: str, weights: dict[str, str | None]) -> None:
    images, rows = pictures(70), np.array([69, 3, 64])
    loaded = space(name, weights, KIND)
    assert (extract(loaded, images)[rows] == extract(loaded, images, rows=rows)).all()


def step(runtime: Runtime) -> tuple[float, torch.Tensor]:
    """Return the loss and the gradient of the second step of the headline training."""
    training = DDPMTraining(HEADLINE, pictures(128, CHOSEN.data.resolution), 0, runtime, None)
    training.step(0)
    batch = training.batches.draw(1)
    loss = training.gradient(batch, 1)
    return float(loss), torch.cat([w.grad.flatten() for w in training.weights.values() if w.grad is not None]).cpu()


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("how", [pytest.param("compiled", marks=device_tests.not_rehearsed), "split"])
def test_the_headline_step_has_one_gradient_however_it_is_computed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, gradient = step(replace(PLAIN, autocast=None))
    loss, plain = step(PLAIN)
    assert loss == pytest.approx(expected, rel=0.01) and 0 < distance(plain, gradient) < 0.2, "bf16 rounds"
    if how == "split":
        monkeypatch.setattr(HEADLINE.training, "num_micro_batches", 4)
    loss, other = step(replace(PLAIN, compile=how == "compiled"))
    assert loss == pytest.approx(expected, rel=0.01) and distance(other, gradient) < 0.2


def test_the_headline_step_in_float32_is_that_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HEADLINE.training, "batch_size", 4)
    loss, gradient = step(Runtime(torch.device("cpu"), None, compile=False))
    try:  # the draws of the host, and no TF32
        here, other = step(resolve_runtime(RuntimeConfig(device=KIND, precision="fp32", deterministic=True)))
    finally:
        set_deterministic(False)
    assert here == pytest.approx(loss, rel=1e-4) and distance(other, gradient) < 1e-3


@device_tests.not_rehearsed
def test_the_headline_step_takes_the_memory_that_is_stated() -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(PLAIN)
    used = torch.cuda.max_memory_allocated() - before
    assert 0.9 < used / training_memory(HEADLINE.unet, 64, HEADLINE.training.batch_size) < 1.2


@device_tests.not_rehearsed
def test_a_step_without_room_for_one_image_is_an_error_with_a_name(tmp_path: Path) -> None:
    """Check with 400 MiB: the weights and their average fit, and no image with its gradients does."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((400 << 20) / total)
    try:
        with pytest.raises(TrainingError, match="for one image at a time"):
            generators.fit(HEADLINE, pictures(128), seed=0, out=tmp_path / "m", work=tmp_path / "w", runtime=PLAIN)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.isfinite(step(PLAIN)[0]), "and the device is as it was"


def exchange(folder: Path) -> None:
    """Run in processes of torch's launcher, one per device: sum gradients over NCCL."""
    number, size = distributed.torchrun.local_rank(), distributed.torchrun.num_processes()
    device = torch.device(KIND, number) if KIND == "cuda" else torch.device(KIND)
    backends = "cpu:gloo,cuda:nccl" if KIND == "cuda" else "gloo"
    dist.init_process_group(backends, rank=number, world_size=size)
    found: dict[str, Any] = {}
    for ordered in (True, False):
        weights = [torch.nn.Parameter(torch.zeros(n, device=device)) for n in (3, 2**24)]  # one is above a part
        for weight in weights:
            weight.grad = torch.full_like(weight, number + 1.0)
        GradientExchange(weights, ordered)()
        found[f"ordered={ordered}"] = [
            [float(w.grad.min()), float(w.grad.max())] for w in weights if w.grad is not None
        ]
    reduced = torch.full((5,), number + 1.0, device=device)
    dist.all_reduce(reduced)  # also where this process is alone, for which the exchange has nothing to do
    found["reduced"] = reduced.tolist()
    found["any"] = [distributed.any_process(number == 0), distributed.any_process(False)]
    dist.destroy_process_group()
    (folder / f"{number}.json").write_text(json.dumps(found))


@pytest.mark.parametrize("size", [1, 2])
def test_nccl_sums_gradients(tmp_path: Path, size: int) -> None:
    if not device_tests.REHEARSED and torch.cuda.device_count() < size:
        pytest.skip(f"needs {size} CUDA devices")
    ranks.run(exchange, size, tmp_path, seconds=300)
    total = [[float(sum(range(1, size + 1)))] * 2] * 2
    for number in range(size):
        found = json.loads((tmp_path / f"{number}.json").read_text())
        reduced = [total[0][0]] * 5
        assert found == {"ordered=True": total, "ordered=False": total, "reduced": reduced, "any": [True, False]}


MICRO_BATCHES = 2


def train(folder: Path) -> None:
    """Run in one process or in two of torch's launcher, which share each batch."""
    config: Any = tiny_config(folder).generator
    config = replace(config, training=replace(config.training, num_steps=12, num_micro_batches=MICRO_BATCHES))
    with distributed.group():
        runtime = resolve_runtime(RuntimeConfig(device=KIND, precision="fp32", deterministic=True))
        out = folder / f"{distributed.world_size()}-{distributed.rank()}"
        places: Any = {"out": out, "work": folder / f"work{distributed.world_size()}", "runtime": runtime}
        generators.fit(config, pictures(20, 16), seed=0, **places)


def test_two_devices_train_the_bytes_of_one(tmp_path: Path) -> None:
    if not device_tests.REHEARSED and torch.cuda.device_count() < 2:
        pytest.skip("needs 2 CUDA devices")
    try:
        train(tmp_path)
    finally:
        set_deterministic(False)
    ranks.run(train, 2, tmp_path, seconds=300)
    models = {path.parent.parent.name: path.read_bytes() for path in tmp_path.rglob("diffusion_pytorch_model.*")}
    assert models.keys() == {"1-0", "2-0", "2-1"} and len(set(models.values())) == 1
