"""A mirror of the ledger in W&B. The ledger stays the record of truth: nothing here can stop or change a run.

`start` returns a tracker; the loop passes it every finished generation and the end of the chain. There is one W&B run
per chain, with an id that is derived from the chain's, so that a resumed chain continues the same run. Runs are online
if there is an API key, else offline, and W&B never prompts for input. If W&B fails, this is logged once and the chain
continues.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.config import TrackingConfig
from bench.ledger import Row
from bench.tracking import wandb_mode
from bench.tracking.wandb_tracker import WandbTracker

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """The interface through which the loop uses tracking."""

    def log_generation(self, row: Row, probes: np.ndarray | None) -> None:
        """Log a scored generation. probes: P items of any kind, or None if they no longer exist."""

    def log_loss(self, generation: int, done: int, total: int, loss: float) -> None:
        """Log a point of the loss curve of a training that is running. done, total: steps done and steps in all.
        loss: mean loss since the previous point."""

    def finish(self, status: str) -> None:
        """End the chain's run. status: `finished`, or any other word if the end was not planned."""


class NullTracker:
    """The tracker for `tracking=none`: it does nothing."""

    def log_generation(self, row: Row, probes: np.ndarray | None) -> None:
        pass

    def log_loss(self, generation: int, done: int, total: int, loss: float) -> None:
        pass

    def finish(self, status: str) -> None:
        pass


def start(settings: TrackingConfig, *, chain_id: str, sweep: str, config: dict[str, Any], directory: Path) -> Tracker:
    """Return the tracker that the settings name.

    Args:
        settings: the kind of tracker, with project and entity.
        chain_id: the chain, which becomes the name of the run.
        sweep: the sweep of the chain, which becomes the group of the run.
        config: the whole resolved configuration.
        directory: the directory of the chain, where W&B keeps its files.
    """
    if settings.tracker == "none":
        return NullTracker()
    mode, reason = wandb_mode.choose()
    log.info("W&B: %s%s", mode, f" ({reason})" if reason else "")
    if mode == "disabled":
        return NullTracker()
    return WandbTracker(settings, mode, chain_id, sweep, config, directory)


@contextmanager
def mirror(
    settings: TrackingConfig, chain_id: str, sweep: str, config: dict[str, Any], directory: Path
) -> Iterator[Tracker]:
    """Track a chain in the body of a `with`: `start`, and `finish` however the body ends. Arguments as for `start`."""
    tracker = start(settings, chain_id=chain_id, sweep=sweep, config=config, directory=directory)
    try:
        yield tracker
    except BaseException:
        tracker.finish("failed")
        raise
    tracker.finish("finished")
