"""Processes that run together, as torch's launcher starts them, without its half minute of imports."""

import multiprocessing
import os
import socket
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch


def start(body: Callable[[Path], None], size: int, folder: Path) -> list[BaseProcess]:
    """Start `body(folder)` in `size` processes that can join one group."""
    # A library counts CUDA devices when it is imported, and no fork of a process that has done so may use one.
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "forkserver")
    context.set_forkserver_preload(["bench.loop", "bench.generators.ddpm.training", "bench.generators.ddpm.sampling"])
    port = _free_port()
    processes = [context.Process(target=_run, args=(body, rank, size, port, folder)) for rank in range(size)]
    for process in processes:
        process.start()
    return processes


def run(body: Callable[[Path], None], size: int, folder: Path, seconds: float = 120) -> None:
    """Run `body(folder)` in `size` processes to the end of all."""
    ended(start(body, size, folder), [0] * size, seconds)


def ended(processes: list[BaseProcess], statuses: list[int], seconds: float = 120) -> None:
    """Check with which status each process ends; the first with another, or that hangs, is the end of all."""
    try:
        for process in processes:
            process.join(seconds)
        assert [process.exitcode for process in processes] == statuses, [_error(process.pid) for process in processes]
    finally:
        for process in processes:
            process.kill()


def _run(body: Callable[[Path], None], rank: int, size: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in about.items()})
    os.environ.update(MASTER_PORT=str(port), MASTER_ADDR="127.0.0.1")
    try:
        body(folder)
    except Exception:  # what it prints goes to the server that forked it, and pytest shows nothing of that
        _error_file(os.getpid()).write_text(traceback.format_exc())
        raise


def _error(pid: int | None) -> str:
    """Return how a process ended, and leave no file behind."""
    path = _error_file(pid)
    said = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return said


def _error_file(pid: int | None) -> Path:
    return Path(tempfile.gettempdir(), f"rank-of-a-test-{pid}.txt")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
