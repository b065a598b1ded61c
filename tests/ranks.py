"""Processes that run together, as torch's launcher starts them, without its half minute of imports."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path


def start(body: Callable[[Path], None], size: int, folder: Path) -> list[ForkServerProcess]:
    """Start `body(folder)` in `size` processes that can join one group."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.loop", "bench.generators.ddpm.training", "bench.generators.ddpm.sampling"])
    port = _free_port()
    processes = [context.Process(target=_run, args=(body, rank, size, port, folder)) for rank in range(size)]
    for process in processes:
        process.start()
    return processes


def run(body: Callable[[Path], None], size: int, folder: Path, seconds: float = 120) -> None:
    """Run `body(folder)` in `size` processes to the end of all."""
    ended(start(body, size, folder), [0] * size, seconds)


def ended(processes: list[ForkServerProcess], statuses: list[int], seconds: float = 120) -> None:
    """Check with which status each process ends; the first with another, or that hangs, is the end of all."""
    try:
        for process in processes:
            process.join(seconds)
        assert [process.exitcode for process in processes] == statuses
    finally:
        for process in processes:
            process.kill()


def _run(body: Callable[[Path], None], rank: int, size: int, port: int, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in about.items()})
    os.environ.update(MASTER_PORT=str(port), MASTER_ADDR="127.0.0.1")
    body(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
