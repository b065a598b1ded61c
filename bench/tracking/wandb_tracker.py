"""One W&B run per chain: how it is opened, what is sent when, and what happens if W&B fails."""

import html
import json
import logging
import threading
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from bench import scatter
from bench.analysis import shown
from bench.analysis.artifacts import load_losses
from bench.analysis.plain_text import visible
from bench.config import TrackingConfig
from bench.files import write_aside
from bench.kinds import POINTS, TOKENS, kind_of
from bench.ledger import Chain, Row
from bench.tracking import logged_values

log = logging.getLogger(__name__)

INIT_SECONDS = 30.0
"""How long to wait for the W&B server before a run is written offline instead."""
FINISH_SECONDS = 180.0
"""How long to wait for the last upload. Data that is not sent by then is still on the disk, for `wandb sync`."""
LOGGED_FILE = "tracking.json"
"""The file in the chain's directory that records which generations W&B already has, by target."""

STEPS = 1000
"""The number of W&B steps per generation: losses use all but the last one, and the generation's row uses the last."""

_unreachable: set[str] = set()
"""Targets at which no run could be started. Other chains of a sweep in this process do not wait for them again."""


def run_id(sweep: str, chain_id: str) -> str:
    """Return the id of a chain's W&B run: the same at any time and on any machine."""
    return blake2b(f"{sweep}/{chain_id}".encode(), digest_size=8).hexdigest()


class WandbTracker:
    """One W&B run. Every call of W&B is guarded: after the first failure, this tracker does nothing more."""

    def __init__(
        self,
        settings: TrackingConfig,
        mode: str,
        chain_id: str,
        sweep: str,
        config: dict[str, Any],
        directory: Path,
    ) -> None:
        """Open the run, unless W&B already has generations of this chain.

        Args:
            settings: project and entity.
            mode: `online` or `offline`.
            chain_id: the name of the run.
            sweep: the group of the run.
            config: the whole resolved configuration.
            directory: the directory of the chain, where W&B keeps its files.
        """
        self._settings, self._mode, self._directory = settings, mode, directory
        self._chain_id, self._sweep, self._config = chain_id, sweep, config
        self._run: Any = None
        self._failed = False
        self._with_lineage = True
        self._logged = LoggedGenerations(directory / LOGGED_FILE, self._target(mode))
        self._last_step = 0
        self._watched: set[int] = set()
        if not self._logged.generations:  # a resumed chain opens its run only when it has something new
            self._guard(self._open)

    def log_generation(self, row: Row, probes: np.ndarray | None) -> None:
        """Send a generation that W&B does not have yet. probes: P items of any kind, or None."""
        if self._run is None and not self._failed and row.generation not in self._logged.generations:
            self._guard(self._open)
        if row.generation not in self._logged.generations:
            if row.generation not in self._watched:  # trained earlier or in another process
                curve = load_losses(Chain(row.chain, self._directory, [row]), row)
                for done, loss in curve:
                    self.log_loss(row.generation, done, curve[-1][0], loss)
            self._guard(self._log, row, probes)

    def log_loss(self, generation: int, done: int, total: int, loss: float) -> None:
        """Send a point of a loss curve, unless W&B already has the generation. Very long curves are thinned out."""
        step = generation * STEPS + max(1, (STEPS - 1) * done // total)
        if generation in self._logged.generations or step <= self._last_step:
            return
        if self._run is None and not self._failed:
            self._guard(self._open)
        self._watched.add(generation)
        self._last_step = step
        self._guard(self._log_loss, step, {"training/loss": loss, "training/generation": generation + done / total})

    def finish(self, status: str) -> None:
        """End the run, as failed unless the status is `finished`, and wait a limited time for the last upload."""
        if self._run is None:
            return
        run, self._run = self._run, None
        # In a separate thread, because W&B would retry for hours if the server is gone.
        last = threading.Thread(target=self._guard, args=(run.finish, 0 if status == "finished" else 1), daemon=True)
        last.start()
        last.join(FINISH_SECONDS)
        if last.is_alive():
            log.warning("W&B: not everything was sent within %.0f s; `wandb sync` can send it", FINISH_SECONDS)

    def _target(self, mode: str) -> str:
        return f"{mode}:{self._settings.entity or ''}/{self._settings.project}"

    def _guard(self, call: Callable[..., Any], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            call(*arguments)
        except Exception as error:  # W&B is a mirror: its failures must not end a run
            self._failed = True
            log.warning("W&B failed and is not used any more: %s: %s", type(error).__name__, error)

    def _open(self) -> None:
        target = self._target("online")
        if self._mode == "online" and target not in _unreachable:
            try:
                self._init("online")
                return
            except Exception as error:
                log.warning("W&B cannot be reached (%s): this run is written offline", type(error).__name__)
                _unreachable.add(target)
                import wandb

                wandb.teardown(exit_code=1)  # its service still holds the run that did not start
        self._logged = LoggedGenerations(self._directory / LOGGED_FILE, self._target("offline"))
        self._init("offline")

    def _init(self, mode: str) -> None:
        import wandb

        self._directory.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            id=run_id(self._sweep, self._chain_id),
            name=self._chain_id,
            group=self._sweep,
            project=self._settings.project,
            entity=self._settings.entity,
            config=self._config,
            tags=logged_values.tags(self._config),
            dir=str(self._directory),
            mode="offline" if mode == "offline" else "online",
            resume=None if mode == "offline" else "allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=INIT_SECONDS,
                x_graphql_retry_max=4,
                x_file_stream_retry_max=8,
                x_file_transfer_retry_max=8,
            ),
        )
        run.define_metric("generation")
        run.define_metric("*", step_metric="generation")
        run.define_metric("training/generation")
        run.define_metric("training/loss", step_metric="training/generation")
        self._run = run

    def _log_loss(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step, commit=True)

    def _log(self, row: Row, probes: np.ndarray | None) -> None:
        values: dict[str, Any] = dict(logged_values.scalars(row))
        if probes is not None:
            values["probes"] = self._media(row, probes)
        # The x axis is `generation`. `step` is passed as well, because a chain that is resumed offline continues in
        # another directory, where W&B would count from 0 again. The server drops steps that it already has.
        self._run.log(values, step=(row.generation + 1) * STEPS, commit=True)
        self._logged.add(row.generation)
        if self._with_lineage:
            try:
                self._log_lineage(row)
            except Exception as error:  # e.g. a full disk for W&B's artifact cache; scores and images continue
                self._with_lineage = False
                log.warning("W&B takes no artifacts and gets no more: %s: %s", type(error).__name__, error)

    def _media(self, row: Row, probes: np.ndarray) -> Any:
        """Return a generation's probes as W&B shows them: a picture, or text."""
        import wandb

        name = f"generation {row.generation}"
        if kind_of(probes) is TOKENS:
            texts = shown.texts_of(probes, row, self._directory)
            items = "".join(f"<li>{html.escape(visible(text))}</li>" for text in texts)
            page = f'<meta charset="utf-8"><h4>{name}</h4><ol style="white-space: pre-wrap">{items}</ol>'
            return wandb.Html(page, inject=False)
        axes = ""
        if kind_of(probes) is POINTS:
            axes = " · " + scatter.words(shown.plane_of(probes, row, self._directory), probes.shape[1])
        return wandb.Image(shown.picture(probes, row, self._directory), caption=name + axes)

    def _log_lineage(self, row: Row) -> None:
        import wandb

        for record in logged_values.lineage(row):
            artifact = wandb.Artifact(record.name, type=record.type, metadata=record.metadata)
            with artifact.new_file("result.json") as file:
                json.dump(record.metadata, file)
            self._run.log_artifact(artifact, aliases=[f"generation-{row.generation}"])


class LoggedGenerations:
    """The generations that one target already has. They are kept next to the ledger, so that a resumed chain sends no
    generation twice."""

    def __init__(self, path: Path, target: str) -> None:
        self._path, self._target = path, target
        self.generations: set[int] = set(self._read().get(target, []))

    def add(self, generation: int) -> None:
        """Record that the target has a generation."""
        self.generations.add(generation)
        by_target = {**self._read(), self._target: sorted(self.generations)}
        with write_aside(self._path) as partial:
            partial.write_text(json.dumps(by_target) + "\n")

    def _read(self) -> dict[str, list[int]]:
        try:
            by_target = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            log.warning("%s cannot be read: W&B may get a generation twice", self._path)
            return {}
        return by_target if isinstance(by_target, dict) else {}
