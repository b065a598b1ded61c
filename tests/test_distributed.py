"""One chain in two processes ends in the bytes of one process that takes the same micro-batches one after the other."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from tiny_chain import outcome_of
from tiny_chain import tiny as tiny_config

from bench import generators, ledger, metrics
from bench.__main__ import main
from bench.errors import ConfigError, MetricError
from bench.generators.ddpm import training
from bench.generators.shared import gradients
from bench.machine import distributed, torchrun
from bench.machine.device import Runtime
from bench.metrics.shared import reference
from bench.store import Store
from bench.store.group import open_store
from bench.store.specs import spec_hash

PROCESSES, THREE = 2, 3
"""The gradients of two are the same in any order, those of three are not."""

CHAIN = [
    *(
        "name=tiny",
        "num_generations=2",
        "mixing=blend",
        "mixing.synthetic_ratio=0.5",
        "data.num_train=80",
        "data.num_calibration=0",
    ),
    *("generator.training.num_steps=12", "generator.sampling.batch_size=32"),
    *(f"generator.training.num_micro_batches={PROCESSES}", "runtime.ordered_gradients=true"),
]

POINTS = [
    *("experiment=gaussian_mixture", "num_generations=1", "num_probes=2", "runtime.device=cpu"),
    *("data.num_train=40", "data.num_heldout=40", "metrics.num_images=40"),
]


def chain(overrides: list[str], out: Path, *more: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    kept = [override for override in overrides if not override.startswith("output_dir=")]
    command = [sys.executable, *launcher, "-m", "bench", *kept, f"output_dir={out}", *CHAIN, *more]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def fit_and_sample(folder: Path) -> None:
    """Run in processes that share a work directory; each has its own output."""
    config = tiny_config(folder).generator
    steps = replace(config.training, num_steps=12, num_micro_batches=THREE)
    config = replace(config, training=steps, unet=replace(config.unet, dropout=0.1))
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16)).astype(np.uint8)
    places: Any = {
        "work": folder / "work",
        "runtime": Runtime(torch.device("cpu"), None, False, ordered_gradients=True),
    }
    with distributed.group():
        out = folder / f"process{distributed.rank()}"
        generators.fit(config, images, seed=0, out=out, **places)
        distributed.barrier()
        np.save(out / "samples.npy", generators.sample(config, out, np.arange(80), **places))


def test_three_processes_fit_and_sample_the_bytes_of_one(tmp_path: Path) -> None:
    ranks.run(fit_and_sample, THREE, tmp_path / "three")
    ranks.run(fit_and_sample, 1, tmp_path / "one")
    expected = files(tmp_path / "one" / "process0")
    assert expected["samples.npy"] and expected["unet/diffusion_pytorch_model.safetensors"]
    for rank in range(THREE):
        assert files(tmp_path / "three" / f"process{rank}") == expected


def fit_where_one_lacks_room(folder: Path) -> None:
    """Train in two processes, of which the second has no room for its part of the batch of step 3."""
    config = tiny_config(folder).generator
    config = replace(config, training=replace(config.training, num_steps=6, batch_size=8, num_micro_batches=2))
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16)).astype(np.uint8)
    runtime = Runtime(torch.device("cpu"), None, False, ordered_gradients=True)
    accumulate, failures = training.DDPMTraining._accumulate, iter((folder / "lacks").exists() * [3])

    def short_of_memory(self: Any, batch: Any, step: int) -> torch.Tensor:
        if distributed.rank() == 1 and step == 3 and next(failures, None):
            raise torch.OutOfMemoryError("pretended")
        return accumulate(self, batch, step)

    training.DDPMTraining._accumulate = short_of_memory  # in this process alone, which ends with the test
    with distributed.group():
        out = folder / f"process{distributed.rank()}"
        facts = generators.fit(config, images, seed=0, out=out, work=folder / "work", runtime=runtime)
        distributed.barrier()
    (out / "facts.json").write_text(json.dumps(facts))


def test_where_one_process_lacks_memory_all_take_smaller_parts_of_the_same_batch(tmp_path: Path) -> None:
    weights = {}
    for name in ("lacks", "has"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "lacks":
            (folder / "lacks").touch()
        ranks.run(fit_where_one_lacks_room, 2, folder)
        facts = [json.loads((folder / f"process{rank}" / "facts.json").read_text()) for rank in range(2)]
        assert [each["num_micro_batches"] for each in facts] == [4 if name == "lacks" else 2] * 2
        assert [[event["step"] for event in each["out_of_memory"]] for each in facts] == [[3] * (name == "lacks")] * 2
        models = [folder / f"process{rank}" / "unet" / "diffusion_pytorch_model.safetensors" for rank in range(2)]
        assert models[0].read_bytes() == models[1].read_bytes()
        weights[name] = load_file(models[0])
    for key, value in weights["has"].items():
        torch.testing.assert_close(weights["lacks"][key], value, rtol=0, atol=1e-3)  # Adam enlarges rounding


def exchanged(rank: int, ordered: bool) -> list[list[float]]:
    """The gradients after two exchanges, of which the second must not hold anything of the first."""
    weights = [torch.nn.Parameter(torch.zeros(size)) for size in ((3,), (2, 1), (1,))]
    exchange = gradients.GradientExchange(weights, ordered)
    for first in (True, False):
        weights[0].grad = torch.tensor([7.0 if first else (1e8, -1e8, 1.0)[rank]] * 3)
        weights[1].grad = torch.tensor([[float(rank)], [2.0 * rank]])
        exchange()
    assert weights[2].grad is None
    return [weight.grad.flatten().tolist() for weight in weights[:2]]


def outcome(error: Exception | None) -> str:
    try:
        with distributed.agreed():
            if error:
                raise error
    except Exception as raised:
        return f"{type(raised).__name__}: {raised}"
    return "fine"


def speak(folder: Path) -> None:
    """Run in one of three processes, and write what the functions return there as JSON."""
    gradients.PART = 2
    results: dict[str, Any] = {}
    with distributed.group(), distributed.group():
        rank, processes = distributed.rank(), distributed.world_size()
        results["me"] = [distributed.rank(), distributed.world_size(), distributed.is_first(), torchrun.local_rank()]
        results["share"] = list(distributed.shard(range(8)))
        results["any"] = [distributed.any_process(flag) for flag in (rank == processes - 1, rank == 0, False, True)]
        results["first"] = distributed.broadcast({"from rank": rank})
        results["total"] = distributed.all_reduce_sum(torch.tensor([1.0, 10.0 * rank])).tolist()
        for ordered in (True, False):
            results["ordered" if ordered else "summed"] = exchanged(rank, ordered)
        blocks = np.full((7, 2), -1.0)
        for start in distributed.shard(range(0, 7, 2)):
            blocks[start : start + 2] = 10 * start + rank
        distributed.all_gather_blocks(blocks, range(0, 7, 2), 2)
        results["filled"] = blocks[:, 0].tolist()
        if rank == 1:
            time.sleep(0.3)
            (folder / "late").touch()
        distributed.barrier()
        results["waited"] = (folder / "late").exists()
        results["agreed"] = [outcome(None), outcome(MetricError("blind") if rank == 1 else None)]
        results["agreed"] += [outcome(MemoryError("full") if rank == 1 else None), outcome(None)]
        distributed.barrier()
    results["after"] = distributed.world_size()
    (folder / f"{rank}.json").write_text(json.dumps(results))


def test_three_processes_hear_the_same(tmp_path: Path) -> None:
    ranks.run(speak, 3, tmp_path)
    for rank in range(3):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == {
            "me": [rank, 3, rank == 0, rank],
            "share": [[0, 3, 6], [1, 4, 7], [2, 5]][rank],
            "any": [True, True, False, True],
            "first": {"from rank": 0},
            "total": [3.0, 30.0],
            "ordered": [[1.0] * 3, [3.0, 6.0]],  # (1e8 - 1e8) + 1; in another order the 1 is lost
            "summed": [[pytest.approx(1.0, abs=8)] * 3, [3.0, 6.0]],
            "filled": [0.0, 0.0, 21.0, 21.0, 42.0, 42.0, 60.0],
            "waited": True,
            "agreed": [
                "fine",
                "MetricError: blind" if rank == 1 else "ProcessError: process 1 of 3 failed: MetricError: blind",
                "ProcessError: process 1 of 3 failed: MemoryError: full",
                "fine",
            ],
            "after": 1,
        }


LIMIT, WAIT = 2.0, 4.0
"""Seconds after which a collective ends with an error (by default 1800), and that another job holds a lease."""


def wait_for_lease(folder: Path) -> None:
    """Run in processes of which the first has to wait for another job."""
    dist.init_process_group = partial(dist.init_process_group, timeout=timedelta(seconds=LIMIT))
    with distributed.group():
        made = open_store(folder).make(
            "floor", {"n": 1}, lambda out, work: {"size": (out / "scores.json").write_text("[]")}
        )
        (folder / f"{distributed.rank()}.txt").write_text(str(made.facts))
        distributed.barrier()


@pytest.mark.slow
def test_the_others_outlive_a_long_wait_of_the_first_for_another_job(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.hold(f"floor/{spec_hash('floor', {'n': 1})}"):
        processes = ranks.start(wait_for_lease, PROCESSES, tmp_path)
        time.sleep(WAIT + 2)
    ranks.ended(processes, [0] * PROCESSES)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(PROCESSES)] == ["{'size': 2}"] * PROCESSES


def sweep_of_four(folder: Path) -> None:
    """Run in the processes of torch's launcher."""
    os.dup2(os.open(folder / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)

    def noted(work: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any, **named: Any) -> Any:
            with (folder / "scored.txt").open("a") as file:
                file.write(f"{work.__name__} by {distributed.rank()}\n")
            return work(*arguments, **named)

        return noting

    metrics.score_with_controls = noted(metrics.score_with_controls)
    reference.reference_statistics = noted(reference.reference_statistics)
    sys.argv[1:] = ["-m", *POINTS, f"output_dir={folder}", "seed=0,1", "generator.num_components=2,1000"]
    main()


def test_a_sweep_in_two_processes_runs_every_chain_and_names_the_failed_ones(tmp_path: Path) -> None:
    ranks.ended(ranks.start(sweep_of_four, PROCESSES, tmp_path), [1] * PROCESSES)
    assert len(ledger.read_runs([tmp_path / "gaussian_mixture"])) == 2
    noted = Counter((tmp_path / "scored.txt").read_text().splitlines())
    assert noted == {"score_with_controls by 0": 2, "reference_statistics by 0": 1}
    said = (tmp_path / "stderr.txt").read_text()
    assert said.count("2 chain(s) of this sweep failed") == 1, said


def files(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files["losses.json"]  # summed in another order, so equal to rounding only
    return files


@pytest.mark.slow
def test_two_processes_make_the_bytes_of_one(tiny: list[str], tmp_path: Path) -> None:
    alone = chain(tiny, tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    both = chain(tiny, tmp_path / "two", processes=PROCESSES)
    assert both.returncode == 0, both.stderr
    expected, together = (outcome_of(tmp_path / name / "tiny", tmp_path / name / "store") for name in ("one", "two"))
    for here, there in zip(expected, together, strict=True):
        losses: Any = [pytest.approx(loss, rel=1e-6) for loss in here.pop("losses")]  # summed in another order
        assert there.pop("losses") == losses
        here["model"].pop("losses.json"), there["model"].pop("losses.json")
        assert here == there
    lines = [line for line in both.stderr.splitlines() if "generation 1" in line and "fid" in line]
    assert len(lines) == 1, "only one process prints"


def test_micro_batches_must_be_as_many_as_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    images = np.zeros((8, 3, 16, 16), np.uint8)
    with pytest.raises(ConfigError, match=r"num_micro_batches=1: 3 processes share each batch: must be 3"):
        generators.fit(
            tiny_config(tmp_path).generator,
            images,
            seed=0,
            out=tmp_path,
            work=tmp_path,
            runtime=Runtime(torch.device("cpu"), None, False),
        )


def test_alone_everything_is_the_obvious_nothing() -> None:
    assert (distributed.rank(), distributed.world_size(), distributed.is_first()) == (0, 1, True)
    assert list(distributed.shard(range(5))) == [0, 1, 2, 3, 4]
    assert distributed.any_process(True) and not distributed.any_process(False)
    assert distributed.broadcast("x") == "x"
