"""Hydra launcher `processes`: runs the chains of a sweep side by side on this machine, each in its own process.

SIGTERM or Ctrl-C to the sweep reaches every chain: each saves a checkpoint and stops, and the sweep waits for them. A
chain whose process is killed, for example because memory ran out, is reported like a chain that failed, and the others
continue. If the sweep itself is killed, its chains notice this and stop as they do after SIGTERM.
"""

import importlib
import itertools
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from bench.errors import StoreError
from bench.machine import interrupt
from bench.sweep import FAILED, note_failure

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

log = logging.getLogger(__name__)


@dataclass
class _Chain:
    number: int
    overrides: str
    process: "ForkProcess"
    place: int
    """The index of the chain's slot among the `n_jobs` slots, which decides its device."""


class ChainProcesses(Launcher):
    """Forks one process per chain, at most `n_jobs` at a time.

    Forking saves every chain the import of torch. It is safe because this process never computes: it has started no
    torch threads and no CUDA context.
    """

    __module__ = "hydra_plugins.bench"  # see `register`

    def __init__(self, n_jobs: int) -> None:
        """Create the launcher. n_jobs: The number of chains at a time; -1: one per core that this process may use."""
        self.num_processes = n_jobs if n_jobs > 0 else num_cores()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the arguments that Hydra passes to a launcher."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all chains. A chain that fails leaves a note for the end of the sweep (`bench.sweep`).

        Raises `Interrupted` and `KeyboardInterrupt` after all chains have stopped.
        """
        importlib.import_module("bench.loop")
        configs = [self._config(initial_job_idx + i, overrides) for i, overrides in enumerate(job_overrides)]
        waiting = list(zip(configs, job_overrides, strict=True))
        free = list(range(min(self.num_processes, len(waiting))))
        devices = cuda_devices()
        if 0 < len(devices) < len(free):
            log.warning("%d chains at a time share %d CUDA device(s) and their memory", len(free), len(devices))
        running: list[_Chain] = []
        unlisted: dict[int, StoreError] = {}
        try:
            while waiting or running:
                while waiting and free:
                    place = free.pop(0)
                    device = devices[place % len(devices)] if devices else None
                    running.append(self._chain(*waiting.pop(0), place, device))
                    running[-1].process.start()
                connection.wait([chain.process.sentinel for chain in running])
                for chain in [chain for chain in running if not chain.process.is_alive()]:
                    running.remove(chain)
                    free.append(chain.place)
                    try:
                        self._note_end(chain)
                    except StoreError as error:
                        unlisted[chain.number] = error
        except BaseException:
            _stop([chain for chain in running if chain.process.pid])
            raise
        return [_ended(overrides, unlisted.get(initial_job_idx + i)) for i, overrides in enumerate(job_overrides)]

    def _config(self, number: int, overrides: Sequence[str]) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        return config

    def _chain(self, config: DictConfig, overrides: Sequence[str], place: int, device: str | None) -> _Chain:
        number = config.hydra.job.num
        process = multiprocessing.get_context("fork").Process(
            target=self._run, args=(config, device), name=f"chain {number}", daemon=False
        )
        return _Chain(number, " ".join(overrides), process, place)

    def _run(self, config: DictConfig, device: str | None) -> None:
        """Run one chain in its own process. device: The only CUDA device that the process sees if
        `runtime.device` is auto or cuda; None: no restriction."""
        if device is not None and config.runtime.device in ("auto", "cuda"):
            os.environ["CUDA_VISIBLE_DEVICES"] = device
            print(f"chain {config.hydra.job.num} of the sweep: CUDA device {device}", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the sweep too, which then sends SIGTERM
        threading.Thread(target=_stop_with_the_sweep, daemon=True).start()
        try:
            ended = run_job(
                hydra_context=self.hydra_context,
                task_function=self.task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
            assert ended.return_value is not None  # reading it raises the error of a job that failed
        except interrupt.Interrupted:
            sys.exit(interrupt.EXIT_STATUS)
        except StoreError as error:  # the chain could not note its failure: the sweep notes it, from the exit status
            log.error("%s", error)
            sys.exit(FAILED)

    def _note_end(self, chain: _Chain) -> None:
        status = chain.process.exitcode
        assert status is not None
        if status == 0:
            return
        why = f"its process ended with status {status}"
        if status < 0:
            why = f"its process was killed by {signal.Signals(-status).name}"
            why += ", perhaps because memory ran out" if -status == signal.SIGKILL else ""
        elif status == interrupt.EXIT_STATUS:
            why = "its process was stopped by SIGTERM, with everything saved"
        log.error("%s: %s; the other chains go on", chain.overrides, why)
        note_failure(Path(self.config.hydra.callbacks.failures.folder), chain.number, chain.overrides, why)


def cuda_devices() -> list[str]:
    """Return the CUDA devices that this process may use, as `CUDA_VISIBLE_DEVICES` names them. Does not initialise
    CUDA, because this process could not fork afterwards."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(importlib.import_module("torch").cuda.device_count())]
    names = [name.strip() for name in visible.split(",")]
    return list(itertools.takewhile(lambda name: name and name != "-1", names))  # CUDA ignores all later names


def num_cores(limits: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use, given its affinity and the quota of its container; at least 1.

    limits: The container's file with "<quota> <period>" in microseconds (control groups version 2); the quota "max"
        means no limit.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limits.read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def _ended(overrides: Sequence[str], error: StoreError | None) -> JobReturn:
    """Return what Hydra expects of a chain that ended. Hydra raises the error, if there is one, when it reads the
    value."""
    ended = JobReturn(overrides=overrides, status=JobStatus.FAILED if error else JobStatus.COMPLETED)
    ended.return_value = error or "ended"
    return ended


def _stop(chains: list[_Chain]) -> None:
    """Tell every chain to save and stop, and wait for all of them. A second signal kills them at once."""
    log.warning("Stopping %d chain(s): each saves its last step", len(chains))
    try:
        with interrupt.deferred():
            for chain in chains:
                chain.process.terminate()
            for chain in chains:
                chain.process.join()
    except BaseException:
        for chain in chains:
            chain.process.kill()
            chain.process.join()
        raise


def _stop_with_the_sweep() -> None:
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    sweep.join()
    log.warning("The process of the sweep is gone: stopping")
    os.kill(os.getpid(), signal.SIGTERM)


def register() -> None:
    """Register the launcher with Hydra, which accepts plugins only from the namespace `hydra_plugins`. This module is
    therefore also registered under a name there, which avoids a second package for one class."""
    Plugins.instance().register(ChainProcesses)
    namespace = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    setattr(namespace, ChainProcesses.__module__.split(".")[1], sys.modules[__name__])
