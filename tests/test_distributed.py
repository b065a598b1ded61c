"""One chain in two processes ends in the bytes of one process that takes the same micro-batches one after the other."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_chain import outcome_of
from tiny_chain import tiny as tiny_config

from bench import generators
from bench.errors import ConfigError
from bench.machine import distributed
from bench.machine.device import Runtime

PROCESSES = 2
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
    f"generator.training.num_micro_batches={PROCESSES}",
]


def chain(overrides: list[str], out: Path, *more: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    kept = [override for override in overrides if not override.startswith("output_dir=")]
    command = [sys.executable, *launcher, "-m", "bench", *kept, f"output_dir={out}", *CHAIN, *more]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fit_and_sample(rank: int, processes: int, port: int, folder: Path) -> None:
    """Run in one of `processes`, which share a work directory; each has its own output."""
    torch.set_num_threads(1)
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in about.items()})
    config = tiny_config(folder).generator
    training = replace(config.training, num_steps=12, num_micro_batches=PROCESSES)
    config = replace(config, training=training, unet=replace(config.unet, dropout=0.1))
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16)).astype(np.uint8)
    places: Any = {"work": folder / "work", "runtime": Runtime(torch.device("cpu"), None, False)}
    out = folder / f"process{rank}"
    with distributed.group():
        assert distributed.world_size() == processes
        generators.fit(config, images, seed=0, out=out, **places)
        distributed.barrier()
        np.save(out / "samples.npy", generators.sample(config, out, np.arange(80), **places))


def test_two_processes_fit_and_sample_the_bytes_of_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.generators.ddpm.training", "bench.generators.ddpm.sampling"])
    port, ranks = free_port(), range(PROCESSES)
    processes = [context.Process(target=fit_and_sample, args=(r, PROCESSES, port, tmp_path / "two")) for r in ranks]
    processes.append(context.Process(target=fit_and_sample, args=(0, 1, 0, tmp_path / "one")))
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    expected = files(tmp_path / "one" / "process0")
    assert expected["samples.npy"] and expected["unet/diffusion_pytorch_model.safetensors"]
    for rank in ranks:
        assert files(tmp_path / "two" / f"process{rank}") == expected


def speak(rank: int, processes: int, port: int, folder: Path) -> None:
    """Run in one of `processes`, and write what the functions return there as JSON."""
    torch.set_num_threads(1)
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in about.items()})
    distributed.PART = 2
    results: dict[str, Any] = {}
    with distributed.group(), distributed.group():
        results["me"] = [distributed.rank(), distributed.world_size(), distributed.is_first(), distributed.local_rank()]
        results["share"] = list(distributed.shard(range(8)))
        results["any"] = [distributed.any_process(flag) for flag in (rank == processes - 1, rank == 0, False, True)]
        results["first"] = distributed.broadcast({"from rank": rank})
        results["total"] = distributed.all_reduce_sum(torch.tensor([1.0, 10.0 * rank])).tolist()
        uneven = torch.tensor([(1e8, -1e8, 1.0)[rank]] * 3 + [float(rank)] * 2)  # five: two parts and a half
        distributed.all_reduce_in_rank_order(uneven)
        results["ordered"] = uneven.tolist()
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
    results["after"] = distributed.world_size()
    (folder / f"{rank}.json").write_text(json.dumps(results))


def test_three_processes_hear_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.generators.ddpm.training", "bench.generators.ddpm.sampling"])
    port = free_port()
    processes = [context.Process(target=speak, args=(rank, 3, port, tmp_path)) for rank in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    for rank in range(3):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == {
            "me": [rank, 3, rank == 0, rank],
            "share": [[0, 3, 6], [1, 4, 7], [2, 5]][rank],
            "any": [True, True, False, True],
            "first": {"from rank": 0},
            "total": [3.0, 30.0],
            "ordered": [1.0] * 3 + [3.0] * 2,  # (1e8 - 1e8) + 1; in another order the 1 is lost
            "filled": [0.0, 0.0, 21.0, 21.0, 42.0, 42.0, 60.0],
            "waited": True,
            "after": 1,
        }


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
