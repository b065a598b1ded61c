"""A whole chain among faults: what is damaged is noticed and made again, what cannot go on says why."""

import json
import logging
import multiprocessing
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from configs import ReplaceConfig
from tiny_chain import outcome, run, tiny

from bench import generators, ledger
from bench.config import Config
from bench.errors import TrainingError
from bench.store import Store

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["bench.loop", "bench.generators.ddpm.training", "bench.generators.ddpm.sampling", "bench.metrics.scores"]
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run(tiny(out))
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Config:
    """A finished chain of one's own to harm."""
    shutil.copytree(finished, tmp_path / "outputs")
    return tiny(tmp_path / "outputs")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that are produced, not reused, from here on."""
    stages: list[str] = []
    make = Store._make

    def watched(self: Store, stage: str, spec: Any, produce: Any) -> Any:
        result = make(self, stage, spec, produce)
        stages.extend([] if result.reused else [stage])
        return result

    monkeypatch.setattr(Store, "_make", watched)
    return stages


def ledger_of(config: Config) -> Path:
    (path,) = Path(config.output_dir).glob(f"{config.name}/*/{ledger.FILENAME}")
    return path


def file_of(config: Config, artifact: str, generation: int) -> Path:
    return Path(config.store_dir) / ledger.read(ledger_of(config))[generation].artifacts[artifact]


def test_truncated_pool_is_sampled_again_and_nothing_else(
    copy: Config, finished: Path, made: list[str], caplog: Any
) -> None:
    images = file_of(copy, "samples", 0) / "items.npy"
    with images.open("r+b") as file:
        file.truncate(images.stat().st_size // 2)
    run(copy)
    assert made == ["sample"]
    assert outcome(copy) == outcome(tiny(finished))
    assert f"items.npy has {images.stat().st_size // 2} bytes" in caplog.text and "made again" in caplog.text


def test_altered_model_is_trained_again(copy: Config, finished: Path, made: list[str]) -> None:
    weights = next(file_of(copy, "model", 1).rglob("*.safetensors"))
    body = bytearray(weights.read_bytes())
    body[len(body) // 2] ^= 1
    weights.write_bytes(body)
    run(copy)
    assert made == ["train"]
    assert outcome(copy) == outcome(tiny(finished))


def test_ledger_line_cut_in_half_is_written_again(copy: Config, finished: Path, made: list[str], caplog: Any) -> None:
    path = ledger_of(copy)
    body = path.read_bytes()
    path.write_bytes(body[: len(body) - 500])
    run(copy)
    assert made == []
    assert outcome(copy) == outcome(tiny(finished))
    assert "half-written" in caplog.text


def test_lost_ledger_comes_back_from_the_store(copy: Config, finished: Path, made: list[str]) -> None:
    ledger_of(copy).unlink()
    run(copy)
    assert made == []
    assert outcome(copy) == outcome(tiny(finished))


def test_clock_going_backwards_changes_nothing(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now - 3600.0 * next(ticks))
    config = tiny(tmp_path)
    run(config)
    assert outcome(config) == outcome(tiny(finished))


def test_loss_that_is_no_number_stops_the_chain_and_publishes_nothing(tmp_path: Path, made: list[str]) -> None:
    config = tiny(tmp_path)
    training = replace(config.generator.training, learning_rate=1e25, warmup_steps=0, gradient_clip=1e30)
    with pytest.raises(TrainingError, match=r"loss became .*at step .*learning_rate=1e\+25.*last good checkpoint"):
        run(tiny(tmp_path, generator=replace(config.generator, training=training)))
    assert "train" not in made
    assert not (Path(config.store_dir) / "train").exists()


def test_training_goes_on_past_a_corrupted_checkpoint(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    class Stop(Exception):
        pass

    fit = generators.fit

    def cut_off(*args: Any, **kwargs: Any) -> Any:
        def progress(done: int, total: int) -> None:
            if done == 35:
                raise Stop

        return fit(*args, **{**kwargs, "progress": progress})

    config = tiny(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(generators, "fit", cut_off)
        run(config)
    newest = max(Path(config.store_dir).glob("work/train/*/*.safetensors"))
    assert "30" in newest.name
    newest.write_bytes(newest.read_bytes()[:1000])
    caplog.set_level(logging.INFO)
    run(config)
    assert "not a readable checkpoint" in caplog.text and "resuming from step 20 of 60" in caplog.text
    assert outcome(config) == outcome(tiny(finished))


def _run_and_count(config: Config, calls: Path) -> None:
    fit = generators.fit

    def counted(*args: Any, **kwargs: Any) -> Any:
        with calls.open("a") as file:
            file.write(json.dumps(str(kwargs["out"].parent.name)) + "\n")
        return fit(*args, **kwargs)

    generators.fit = counted
    run(config)


def test_two_sweeps_at_once_on_one_store_train_nothing_twice(tmp_path: Path, finished: Path) -> None:
    """The same chain twice, under two names, and a third with another policy that shares generation 0."""
    store, calls = str(tmp_path / "store"), tmp_path / "calls"
    configs = [tiny(tmp_path / "a", store_dir=store), tiny(tmp_path / "b", store_dir=store, name="other")]
    configs.append(tiny(tmp_path / "c", store_dir=store, mixing=ReplaceConfig()))
    processes = [context.Process(target=_run_and_count, args=(config, calls)) for config in configs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(calls.read_text().splitlines()) == 3, "generation 0, and one generation 1 for each policy"
    assert outcome(configs[0]) == outcome(configs[1]) == outcome(tiny(finished))
    assert outcome(configs[2])[0]["model"] == outcome(configs[0])[0]["model"]
    assert outcome(configs[2])[1]["model"] != outcome(configs[0])[1]["model"]
