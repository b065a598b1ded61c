"""Training: the same bytes every time, also after an interruption; models that diffusers opens; clear errors."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import device_tests
import numpy as np
import pytest
import torch
from configs import DDPMConfig, TrainingConfig
from diffusers import DDPMPipeline
from shrunk import composed

from bench import generators
from bench.config import RuntimeConfig
from bench.errors import ConfigError, DataError, TrainingError
from bench.generators.ddpm.process import Process
from bench.generators.ddpm.training import DDPMTraining
from bench.generators.shared import batches as shared_batches
from bench.generators.shared import checkpoint, steps
from bench.generators.shared.schedule import ema_decay, learning_rate
from bench.machine.device import Runtime, Watched, resolve_runtime, set_deterministic

Make = Callable[..., DDPMConfig]


def digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def fit(config: DDPMConfig, images: np.ndarray, at: Path, runtime: Runtime, **kw: object) -> dict[str, object]:
    return generators.fit(config, images, out=at / "model", work=at / "work", runtime=runtime, **{"seed": 0} | kw)  # type: ignore[arg-type]


@pytest.fixture
def trained(tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path) -> Path:
    fit(tiny(), images, tmp_path / "trained", cpu)
    return tmp_path / "trained" / "model"


class Cut(Exception):
    """Stands for the process being killed."""


def cut_at(step: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        assert total == 12
        if done == step:
            raise Cut

    return progress


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_resumed_equals_uninterrupted(
    tiny: Make, images: np.ndarray, tmp_path: Path, precision: torch.dtype | None, dropout: float
) -> None:
    runtime = Runtime(torch.device("cpu"), precision, False)
    config = tiny(training={"decay": "linear"}, unet={"dropout": dropout})
    whole = fit(config, images, tmp_path / "whole", runtime)
    for step in (6, 10):  # after the checkpoints at 4 and 8
        with pytest.raises(Cut):
            fit(config, images, tmp_path / "cut", runtime, progress=cut_at(step))
    torch.manual_seed(99)  # the global random state must not matter
    resumed = fit(config, images, tmp_path / "cut", runtime)
    assert (whole["resumed_from_step"], resumed["resumed_from_step"]) == (0, 8)
    assert digests(tmp_path / "whole" / "model") == digests(tmp_path / "cut" / "model")
    assert resumed["final_loss"] == whole["final_loss"] and resumed["mean_loss"] == whole["mean_loss"]


def test_the_seed_decides(tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path) -> None:
    weights = "unet/diffusion_pytorch_model.safetensors"
    weight_digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(tiny(), images, tmp_path / name, cpu, seed=seed)
        weight_digests.append(digests(tmp_path / name / "model")[weights])
    assert weight_digests[0] == weight_digests[1] != weight_digests[2]


def test_facts(tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    facts = fit(tiny(), images, tmp_path, cpu, progress=lambda *at: seen.append(at))
    assert seen == [(step, 12) for step in range(1, 13)]
    assert (facts["num_steps"], facts["images_seen"], facts["resumed_from_step"]) == (12, 96, 0)
    unet = DDPMPipeline.from_pretrained(tmp_path / "model").unet
    assert facts["num_parameters"] == sum(p.numel() for p in unet.parameters())
    curve = json.loads((tmp_path / "model" / "losses.json").read_text())
    assert [point["step"] for point in curve] == [12]
    assert facts["final_loss"] == curve[-1]["mean_loss"]
    assert facts["mean_loss"] == pytest.approx(np.mean([point["mean_loss"] for point in curve]))
    json.dumps(facts)


GOLDEN = {  # (mean, final) loss, recorded in fp32: no kernel or number of threads moves these by more than 2e-6
    "sample": (0.882465, 0.641603),
    "epsilon": (0.905392, 0.780524),
    "v_prediction": (0.371425, 0.349379),
}
BF16_TOLERANCE = 2e-3  # the bf16 kernels of AVX2, AVX512 and AVX512-BF16 are within 9e-4 of each other and of fp32


@pytest.mark.parametrize("prediction", GOLDEN)
@pytest.mark.parametrize(("precision", "tolerance"), [(None, 2e-5), (torch.bfloat16, BF16_TOLERANCE)])
def test_golden_loss(
    tiny: Make,
    images: np.ndarray,
    tmp_path: Path,
    prediction: str,
    precision: torch.dtype | None,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check recorded losses. Changes that preserve the maths preserve them; others must raise the generator's
    `VERSION`."""
    monkeypatch.setattr(steps, "WATCH", 4)
    gamma = None if prediction == "epsilon" else 5.0
    config = tiny(noise={"prediction": prediction, "min_snr_gamma": gamma}, training={"num_steps": 30})
    facts = fit(config, images, tmp_path, Runtime(torch.device("cpu"), precision, False), seed=7)
    assert (facts["mean_loss"], facts["final_loss"]) == pytest.approx(GOLDEN[prediction], rel=tolerance)


def test_diffusers_opens_and_samples_the_model(trained: Path) -> None:
    pipeline = DDPMPipeline.from_pretrained(trained)
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    assert pipeline.scheduler.config.num_train_timesteps == 100
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(batch_size=2, num_inference_steps=5, output_type="np").images
    assert pictures.shape == (2, 8, 8, 3) and np.isfinite(pictures).all()


def test_warm_start(tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path, trained: Path) -> None:
    config = tiny(training={"num_steps": 1, "learning_rate": 1e-12, "warmup_steps": 0})
    fit(config, images, tmp_path, cpu, init=trained)
    before, after = (DDPMPipeline.from_pretrained(p).unet.state_dict() for p in (trained, tmp_path / "model"))
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before)
    with pytest.raises(ConfigError, match="another network"):
        fit(tiny(unet={"channels": [16, 16]}), images, tmp_path / "other", cpu, init=trained)


def test_a_loss_that_is_no_number_stops_the_training(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path
) -> None:
    fit(tiny(), images, tmp_path, cpu)  # writes the checkpoints of steps 4 and 8
    config = tiny(training={"num_steps": 12, "learning_rate": 1e20, "warmup_steps": 0})
    with pytest.raises(TrainingError, match=r"at step \d+ of 12 .*learning_rate=1e\+20.*last good checkpoint") as error:
        fit(config, images, tmp_path / "bad", cpu)
    assert "none" in str(error.value)
    assert not (tmp_path / "bad" / "model").exists()


@pytest.mark.parametrize(("bad", "left"), [(12, ["step-00000004", "step-00000008"]), (4, [])])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_the_last_step_or_that_of_a_checkpoint_spoils_are_never_stored(
    tiny: Make,
    images: np.ndarray,
    cpu: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: int,
    left: list[str],
    value: float,
) -> None:
    """Check it where the loss of that step, computed before, is fine."""
    update = DDPMTraining.update

    def spoiled(self: DDPMTraining, step: int) -> None:
        update(self, step)
        if step + 1 == bad:
            next(iter(self.weights.values())).detach()[0] = value

    monkeypatch.setattr(DDPMTraining, "update", spoiled)
    with pytest.raises(TrainingError, match=rf"e\.g\. weight/.*, became NaN or infinite at step {bad} of 12"):
        fit(tiny(), images, tmp_path, cpu)
    assert not (tmp_path / "model").exists()
    assert sorted(path.stem for path in (tmp_path / "work").glob("*.safetensors")) == left


def test_the_loss_curve_does_not_depend_on_checkpoints_or_interruptions(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "WATCH", 5)
    every: dict[str, dict[str, str]] = {}
    for interval, cut in ((1000, None), (4, 6), (3, 11), (5, 7)):
        at, config = tmp_path / str(interval), tiny(training={"checkpoint_every": interval})
        if cut:
            with pytest.raises(Cut):
                fit(config, images, at, cpu, progress=cut_at(cut))
        fit(config, images, at, cpu)
        every[str(interval)] = digests(at / "model")
    assert [p["step"] for p in json.loads((at / "model" / "losses.json").read_text())] == [5, 10, 12]
    assert every["1000"] == every["4"] == every["3"] == every["5"]


def test_the_loss_is_told_as_the_curve_grows(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "WATCH", 5)
    told: list[tuple[int, int, float]] = []
    seen: list[int] = []

    def loss(done: int, total: int, mean: float) -> None:
        assert len(seen) == done - 1  # before the step is reported, not at the end
        told.append((done, total, mean))

    fit(tiny(), images, tmp_path, cpu, progress=Watched(lambda done, total: seen.append(done), loss))
    curve = json.loads((tmp_path / "model" / "losses.json").read_text())
    assert told == [(point["step"], 12, point["mean_loss"]) for point in curve] and len(told) == 3
    assert seen == list(range(1, 13))


def test_the_error_of_a_diverged_training_has_its_rate_then_and_what_is_left(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, loss = iter(range(1, 100)), Process.loss

    def poisoned(*arguments: Any) -> torch.Tensor:
        return loss(*arguments) * (float("nan") if next(numbers) == 6 else 1)

    monkeypatch.setattr(Process, "loss", poisoned)
    config = tiny(training={"decay": "linear"})  # from step 4 of 12 on: the sixth step has (12 - 5) / 9 of the rate
    message = r"became nan at step 6 of 12 .*learning_rate=0\.002, at this step 0\.00155556.*step-00000004\.safetensors"
    with pytest.raises(TrainingError, match=message):
        fit(config, images, tmp_path, cpu)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["step-00000004.safetensors"]


def test_checkpoints_two_are_kept_and_a_damaged_one_is_passed_over(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(training={"num_steps": 20})
    whole = fit(config, images, tmp_path, cpu)
    files = sorted((tmp_path / "work").iterdir())
    assert [path.name for path in files] == ["step-00000012.safetensors", "step-00000016.safetensors"]
    files[1].write_bytes(files[1].read_bytes()[:1000])
    expected = digests(tmp_path / "model")
    again = fit(config, images, tmp_path, cpu)
    assert again["resumed_from_step"] == 12 and again["final_loss"] == whole["final_loss"]
    assert digests(tmp_path / "model") == expected
    assert "step-00000016" in caplog.text

    newest = tmp_path / "work" / "step-00000016.safetensors"
    body = bytearray(newest.read_bytes())
    body[-5] ^= 1
    newest.write_bytes(body)
    assert fit(config, images, tmp_path, cpu)["resumed_from_step"] == 12
    assert "it does not match its checksum" in caplog.text


def test_a_checkpoint_of_another_training_is_not_used(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path
) -> None:
    """Check that nothing that a training depends on may differ, except settings that affect only speed and memory."""
    fit(tiny(), images, tmp_path, cpu)
    checkpoints = tmp_path / "kept"
    shutil.copytree(tmp_path / "work", checkpoints)

    def start(config: DDPMConfig, images: np.ndarray = images, **more: Any) -> object:
        shutil.rmtree(tmp_path / "work")
        shutil.copytree(checkpoints, tmp_path / "work")
        return fit(config, images, tmp_path, cpu, **more)["resumed_from_step"]

    assert start(tiny()) == 8
    assert start(tiny(), seed=1) == 0
    assert start(tiny(training={"ema_decay": 0.8})) == 0
    assert start(tiny(), images[:, :, :4, :4]) == 0
    assert start(tiny(), init=tmp_path / "model") == 0


def test_how_often_a_checkpoint_is_made_changes_no_weight(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path
) -> None:
    weight_digests = []
    for every in (4, 7, 12):
        fit(tiny(training={"checkpoint_every": every}), images, tmp_path / str(every), cpu)
        weight_digests.append(digests(tmp_path / str(every) / "model")["unet/diffusion_pytorch_model.safetensors"])
    assert weight_digests[0] == weight_digests[1] == weight_digests[2]


def test_time_is_counted_over_all_attempts_and_pace_over_the_last(
    tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check with a clock that advances by two seconds at the end of each step."""
    clock = {"now": 1000.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])

    def work(done: int, total: int, stop: int = 0) -> None:
        clock["now"] += 2
        if done == stop:
            raise Cut

    for stop in (6, 10):  # each time one step after a checkpoint is lost
        with pytest.raises(Cut):
            fit(tiny(), images, tmp_path, cpu, progress=partial(work, stop=stop))
    facts = fit(tiny(), images, tmp_path, cpu, progress=work)
    assert facts["resumed_from_step"] == 8
    assert facts["seconds"] == 2 * (3 + 3 + 4)
    assert facts["images_per_second"] == 4 * 8 / 8  # batches of 8 in 8 seconds
    assert facts["images_seen"] == 12 * 8


def test_checkpoint_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"identity": "x"}
    checkpoint.save(tmp_path, 1, {"a": torch.ones(2)}, about)

    def fail(*args: object, **kw: object) -> None:
        (tmp_path / "step-00000002.partial").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(tmp_path, 2, {"a": torch.zeros(2)}, about)
    restored = checkpoint.load(tmp_path, "x")
    assert restored is not None and restored[1]["step"] == 1 and torch.equal(restored[0]["a"], torch.ones(2))


def test_learning_rate() -> None:
    def rates(decay: str, *steps: int) -> list[float]:
        training = TrainingConfig(num_steps=110, learning_rate=1.0, warmup_steps=10, decay=decay)
        return [learning_rate(training, step) for step in steps]

    assert rates("none", 0, 4, 9, 10, 109) == pytest.approx([0.1, 0.5, 1.0, 1.0, 1.0])
    assert learning_rate(TrainingConfig(num_steps=2, learning_rate=1.0, warmup_steps=4, decay="linear"), 1) == 0.5
    assert rates("linear", 0, 10, 60, 109) == pytest.approx([0.1, 1.0, 0.5, 0.01])
    assert rates("cosine", 9, 10, 60, 110) == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_ema_warms_up() -> None:
    training = TrainingConfig(ema_decay=0.99)
    assert ema_decay(training, 0) == 0.1
    assert ema_decay(training, 10_000) == 0.99


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((4, 3, 8, 8), np.float32), "float32"),
        (np.zeros((4, 8, 8, 3), np.uint8), "shape"),
        (np.zeros((0, 3, 8, 8), np.uint8), "no items"),
    ],
)
def test_wrong_images(tiny: Make, cpu: Runtime, tmp_path: Path, wrong: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(tiny(), wrong, tmp_path, cpu)


def test_a_network_that_does_not_fit_is_refused_before_any_step(tiny: Make, cpu: Runtime, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a multiple of 2, and it is 9"):
        fit(tiny(), np.zeros((4, 3, 9, 9), np.uint8), tmp_path, cpu)


def test_memory_mapped_images(tiny: Make, images: np.ndarray, cpu: Runtime, tmp_path: Path) -> None:
    np.save(tmp_path / "items.npy", images)
    fit(tiny(), images, tmp_path / "a", cpu)
    fit(tiny(), np.load(tmp_path / "items.npy", mmap_mode="r"), tmp_path / "b", cpu)
    assert digests(tmp_path / "a" / "model") == digests(tmp_path / "b" / "model")


@device_tests.on_device
@pytest.mark.parametrize("data", ["resident", "streamed"])
@device_tests.ways
def test_no_step_waits_for_the_device(
    tiny: Make,
    images: np.ndarray,
    tmp_path: Path,
    data: str,
    compiled: bool,
    graphs: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check the steps of a whole `fit`, except the first, which initialises, and the last, which reads the loss."""
    if data == "streamed":
        monkeypatch.setattr(shared_batches, "free_memory", lambda device: 0)
    num_steps = 40  # 16 epochs
    training = {"num_steps": num_steps, "checkpoint_every": 1000, "horizontal_flip": True, "num_micro_batches": 2}
    config = tiny(training=training, unet={"dropout": 0.1})

    def progress(done: int, total: int) -> None:
        if done in (5, num_steps - 1):
            device_tests.waiting_is("error" if done == 5 else "default")

    try:
        runtime = Runtime(torch.device(device_tests.KIND), torch.bfloat16, compiled, graphs)
        facts = fit(config, images, tmp_path, runtime, progress=progress)
    finally:
        device_tests.waiting_is("default")
    assert facts["data"] == data and np.isfinite(facts["final_loss"])


@device_tests.on_device
@device_tests.not_rehearsed
@pytest.mark.parametrize("num_micro_batches", [1, 2])
@pytest.mark.parametrize(("precision", "tolerance"), [(None, 1e-4), (torch.bfloat16, BF16_TOLERANCE)])
def test_compiled_code_and_replayed_graphs_train_what_plain_code_trains(
    tiny: Make, images: np.ndarray, tmp_path: Path, num_micro_batches: int, precision: torch.dtype, tolerance: float
) -> None:
    config = tiny(training={"num_steps": 20, "num_micro_batches": num_micro_batches})
    losses = []
    for compiled, graphs in ((False, False), (True, False), (True, True)):
        runtime = Runtime(torch.device(device_tests.KIND), precision, compiled, graphs)
        losses.append(fit(config, images, tmp_path / f"{compiled}{graphs}", runtime)["mean_loss"])
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=tolerance)


@device_tests.on_device
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_deterministic_training_on_cuda_resumes_to_the_same_bytes(
    tiny: Make, images: np.ndarray, tmp_path: Path, precision: str
) -> None:
    try:
        runtime = resolve_runtime(RuntimeConfig(device=device_tests.KIND, precision=precision, deterministic=True))
        fit(tiny(), images, tmp_path / "whole", runtime)
        with pytest.raises(Cut):
            fit(tiny(), images, tmp_path / "cut", runtime, progress=cut_at(6))
        fit(tiny(), images, tmp_path / "cut", runtime)
    finally:
        set_deterministic(False)
    assert digests(tmp_path / "whole" / "model") == digests(tmp_path / "cut" / "model")


@device_tests.on_device
def test_cuda_trains_what_the_cpu_trains(tiny: Make, images: np.ndarray, tmp_path: Path, cpu: Runtime) -> None:
    """Check with the draws of the CPU."""
    cuda = Runtime(torch.device(device_tests.KIND), None, False, deterministic=True)
    losses = [fit(tiny(), images, tmp_path / r.device.type, r)["mean_loss"] for r in (cpu, cuda)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@device_tests.on_device
@device_tests.not_rehearsed
def test_a_batch_of_the_headline_network_that_does_not_fit_is_split(tmp_path: Path) -> None:
    """Check with 5 GiB of the device: 128 images do not fit, 32 do (`python -m bench.perf.training_memory`)."""
    images = np.zeros((128, 3, 64, 64), np.uint8)
    config: Any = composed("experiment=flowers64", "generator.training.num_steps=2").generator
    runtime = Runtime(torch.device(device_tests.KIND), torch.bfloat16, False)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (5 << 30) / total))
    try:
        facts = fit(config, images, tmp_path, runtime)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert facts["num_micro_batches"] in (4, 8, 16) and np.isfinite(facts["final_loss"])  # type: ignore[call-overload]
