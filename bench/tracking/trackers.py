"""A mirror of the ledger in W&B. The ledger stays the record of truth: nothing here can stop or change a run.

`start` returns a tracker; the loop tells it every finished generation and the end. One W&B run per chain,
with an id that follows from the chain's, so that a chain taken up again goes on in the same run. Online when
an API key is present, else offline, and never a question at the keyboard. Whatever W&B raises is said once
and the run goes on.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.config import TrackingConfig
from bench.contact_sheet import grid
from bench.ledger import Row, score_key

log = logging.getLogger(__name__)

INIT_SECONDS = 30.0
"""How long to wait for the W&B server before a run is written offline instead."""
FINISH_SECONDS = 180.0
"""How long to wait for the last upload. What is not sent by then is still on disk, for `wandb sync`."""
_unreachable: set[str] = set()
"""Where no run could be started: the other chains of a sweep in this process do not wait for it again."""
LINEAGE = {"real-pool": "real", "checkpoint": "train", "samples": "sample", "scores": "score"}
"""Kind of artifact -> the stage of the row's `artifacts` that holds it, each made from the one before."""
LOGGED_FILE = "tracking.json"
"""In the chain's directory: which generations W&B already has, by where they were sent."""


class Tracker(Protocol):
    """What the loop knows of tracking."""

    def log_generation(self, row: Row, probes: np.ndarray | None) -> None:
        """A scored generation, and its probes, uint8 (P, 3, H, W); None where they are gone."""

    def finish(self, status: str) -> None:
        """The end of the chain: `finished`, or any other word for an end that was not planned."""


class NullTracker:
    """The tracker of whoever wants none."""

    def log_generation(self, row: Row, probes: np.ndarray | None) -> None:
        pass

    def finish(self, status: str) -> None:
        pass


def start(settings: TrackingConfig, *, chain_id: str, sweep: str, config: dict[str, Any], directory: Path) -> Tracker:
    """The tracker that `settings` name. config: the whole resolved configuration; directory: the chain's
    own."""
    if settings.tracker == "none":
        return NullTracker()
    mode, why = _mode()
    log.info("W&B: %s%s", mode, f" ({why})" if why else "")
    if mode == "disabled":
        return NullTracker()
    return WandbTracker(settings, mode, chain_id, sweep, config, directory)


@contextmanager
def mirror(
    settings: TrackingConfig, chain_id: str, sweep: str, config: dict[str, Any], directory: Path
) -> Iterator[Tracker]:
    """`start`, and at the end `finish`, whichever way it ends."""
    tracker = start(settings, chain_id=chain_id, sweep=sweep, config=config, directory=directory)
    try:
        yield tracker
    except BaseException:
        tracker.finish("failed")
        raise
    tracker.finish("finished")


def _mode() -> tuple[str, str]:
    """online, offline or disabled, and why; WANDB_MODE has the first word."""
    wish = os.environ.get("WANDB_MODE", "").lower()
    if wish == "disabled":
        return "disabled", "WANDB_MODE"
    if wish in ("offline", "dryrun"):
        return "offline", f"WANDB_MODE={wish}; send it later with `wandb sync`"
    if not _has_credentials():
        return "offline", "no API key; send it later with `wandb sync`"
    return "online", ""


def online() -> bool:
    """Whether a run would go to the server now."""
    return _mode()[0] == "online"


def default_entity() -> str:
    """Who the API key belongs to, as the server says. Raises what W&B raises."""
    import wandb

    return str(wandb.Api(timeout=15).default_entity)


def _has_credentials() -> bool:
    """Whether W&B would find a valid key without asking. Nothing of the key is kept or shown here.

    W&B's own search (environment, netrc, settings) has to answer: were this to find a key that W&B does not, W&B would
    ask at the keyboard. Where that search is not to be had, only the environment counts, which W&B reads first.
    """
    try:
        import wandb
        from wandb.sdk.lib.wbauth import authenticate_session

        host = wandb.setup().settings.base_url
        found = authenticate_session(host=host, source="bench", prompt=False, update_session=False)
        return found is not None
    except (ImportError, TypeError):  # another version of W&B
        return bool(os.environ.get("WANDB_API_KEY"))
    except Exception as error:
        log.warning("W&B credentials cannot be used: %s", type(error).__name__)
        return False


def run_id(sweep: str, chain_id: str) -> str:
    """The W&B run of a chain: the same wherever and whenever it is made."""
    return blake2b(f"{sweep}/{chain_id}".encode(), digest_size=8).hexdigest()


class WandbTracker:
    """One W&B run. Every call into W&B is guarded: after the first failure this tracker falls silent."""

    def __init__(
        self,
        settings: TrackingConfig,
        mode: str,
        chain_id: str,
        sweep: str,
        config: dict[str, Any],
        directory: Path,
    ) -> None:
        self._settings, self._mode, self._directory = settings, mode, directory
        self._chain_id, self._sweep, self._config = chain_id, sweep, config
        self._run: Any = None
        self._failed = False
        self._with_lineage = True
        self._logged = _Logged(directory / LOGGED_FILE, self._target(mode))
        if not self._logged.generations:  # a chain taken up again opens its run once it has something new
            self._guard(self._open)

    def log_generation(self, row: Row, probes: np.ndarray | None) -> None:
        if self._run is None and not self._failed and row.generation not in self._logged.generations:
            self._guard(self._open)
        if row.generation not in self._logged.generations:
            self._guard(self._log, row, probes)

    def finish(self, status: str) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        # In a thread of its own: with the server gone, W&B would go on trying for hours.
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
        except Exception as error:  # W&B is a mirror: no failure of it may end a run
            self._failed = True
            log.warning("W&B failed and is left alone from here on: %s: %s", type(error).__name__, error)

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
        self._logged = _Logged(self._directory / LOGGED_FILE, self._target("offline"))
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
            tags=tags(self._config),
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
        self._run = run

    def _log(self, row: Row, probes: np.ndarray | None) -> None:
        import wandb

        caption = f"generation {row.generation}"
        picture = {} if probes is None else {"probes": wandb.Image(grid(probes), caption=caption)}
        # The x axis is `generation`. step is given, too, because a chain taken up offline goes on in another directory,
        # where W&B would count from 0 again: the server drops steps that it already has, so nothing is there twice.
        self._run.log({**scalars(row), **picture}, step=row.generation, commit=True)
        self._logged.add(row.generation)
        if self._with_lineage:
            try:
                self._log_lineage(row)
            except Exception as error:  # e.g. no room for W&B's own cache of artifacts: scores and pictures go on
                self._with_lineage = False
                log.warning("W&B takes no artifacts and gets no more: %s: %s", type(error).__name__, error)

    def _log_lineage(self, row: Row) -> None:
        """real pool → checkpoint → samples → scores, as artifacts that say where in the store each lies and what it was
        made from; the results themselves stay on disk. Equal results have equal artifacts, so that chains which share a
        generation share them."""
        import wandb

        previous: str | None = None
        for kind, stage in LINEAGE.items():
            if stage not in row.artifacts:
                continue
            key = row.artifacts[stage]
            name = f"{kind}-{Path(key).name[:16]}"
            about = {"store_key": key, "store_dir": row.store_dir, "made_from": previous}
            artifact = wandb.Artifact(name, type=kind, metadata=about)
            with artifact.new_file("result.json") as file:
                json.dump(about, file)
            self._run.log_artifact(artifact, aliases=[f"generation-{row.generation}"])
            previous = name


def tags(config: dict[str, Any]) -> list[str]:
    """What a run is found by: policy, data, generator, feature space and protocol, as far as the
    configuration has them."""
    data, protocol = config.get("data", {}), config.get("protocol", {})
    words = [
        config.get("mixing", {}).get("policy"),
        data.get("kind") or data.get("name"),
        config.get("generator", {}).get("name"),
        config.get("metrics", {}).get("feature_space"),
        f"{protocol['name']} v{protocol.get('version')}" if protocol.get("name") else None,
    ]
    return [word[:64] for word in dict.fromkeys(words) if word]  # 64: W&B's own limit


def scalars(row: Row) -> dict[str, float]:
    """What W&B plots of a row: every score, the composition and the numbers that the stages recorded."""
    values: dict[str, float] = {"generation": row.generation}
    values.update({score_key(entry): entry["value"] for entry in row.scores})
    for group, facts in (
        ("composition", row.composition),
        ("train", row.train),
        ("sample", row.sample),
        ("score", row.score),
    ):
        numbers = {k: v for k, v in facts.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        values.update({f"{group}/{name}": value for name, value in numbers.items()})
    values["wall_seconds"] = row.wall_seconds
    return values


class _Logged:
    """Which generations one target already has; kept beside the ledger, so that a resumed chain sends none
    twice."""

    def __init__(self, path: Path, target: str) -> None:
        self._path, self._target = path, target
        self.generations: set[int] = set(self._read().get(target, []))

    def add(self, generation: int) -> None:
        self.generations.add(generation)
        everything = {**self._read(), self._target: sorted(self.generations)}
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(everything) + "\n")
        partial.replace(self._path)

    def _read(self) -> dict[str, list[int]]:
        try:
            known = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            log.warning("%s is not readable: W&B may get a generation twice", self._path)
            return {}
        return known if isinstance(known, dict) else {}
