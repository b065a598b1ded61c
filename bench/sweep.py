"""Check the values of a sweep before it starts, and report its failed chains when it ends.

A chain that fails does not stop the others. Its job, on whatever process or machine it runs, writes the error to a file
in a folder that belongs only to this start of the sweep. A Hydra callback reads these files when all jobs have ended,
and sets the exit status.
"""

import logging
import math
import re
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bench import ledger, mistakes, protocols
from bench.config import Config
from bench.errors import BenchError, ConfigError, ConfigErrors, DataError, StoreError
from bench.machine import torchrun

log = logging.getLogger(__name__)

FAILED = 1
WRONG_CONFIG = 2
"""Exit statuses: `FAILED` if a chain failed, `WRONG_CONFIG` if the configuration or its data cannot be used."""

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""Hydra's launcher that runs the chains one after the other in this process. Under torch's launcher, any other Hydra
launcher would start several further processes for each process."""


def report_failure(error: Exception) -> str:
    """Report the error that ended a chain. Exit a single run with the status of the error. In a sweep, write the error
    to a file and return "failed", so that the next chain runs. If torch's launcher started several processes, an
    unexpected error ends the sweep: the other processes may not have the error, and would wait for this one until the
    launcher ends them."""
    hydra = HydraConfig.get()
    overrides = " ".join(hydra.overrides.task)
    expected = isinstance(error, BenchError)
    text = str(error) if expected else "".join(traceback.format_exception(error))
    for one in error.errors if isinstance(error, ConfigErrors) else ():
        log.error("%s: %s", type(one).__name__, one)
    if not isinstance(error, ConfigErrors):
        log.error("%s: %s", type(error).__name__, text)
    if hydra.mode is not RunMode.MULTIRUN or (torchrun.num_processes() > 1 and not expected):
        sys.exit(WRONG_CONFIG if isinstance(error, ConfigError | DataError) else FAILED)
    note_failure(Path(hydra.callbacks["failures"].folder), hydra.job.num, overrides, f"{type(error).__name__}: {text}")
    return "failed"


def conclude_run(directory: Path) -> None:
    """Print the conclusion of a single run. In a sweep, it is printed once, when the sweep ends."""
    if HydraConfig.get().mode is not RunMode.MULTIRUN and torchrun.is_first():
        from bench import conclusion

        conclusion.show([directory], directory.parent)


def note_failure(folder: Path, number: int, overrides: str, text: str) -> None:
    """Write why a chain of a sweep failed, for the report at the end of the sweep. Raises `StoreError` if the file
    cannot be written; this error ends the sweep after the other chains have run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"{overrides}\n{text}\n")
    except OSError as error:
        raise StoreError(
            f"chain {overrides} failed ({text.splitlines()[0]}), and the end of the sweep cannot list what failed: "
            f"{folder} cannot be written to ({error})"
        ) from error


def say_what_quick_sets(config: Config) -> None:
    """Print which values the default experiment sets for data or a generator that it is not designed for; in a sweep,
    only for the first chain."""
    hydra = HydraConfig.get()
    first = hydra.mode is not RunMode.MULTIRUN or hydra.job.num == 0
    choices = hydra.runtime.choices
    is_its_own = config.data.name == "procedural" and choices.get("generator") == "ddpm_quick"
    if choices.get("experiment") != "quick" or is_its_own or not first:
        return
    given = {override.partition("=")[0].lstrip("+") for override in hydra.overrides.task}
    keys = (
        "num_generations", "num_samples", "warm_start", "retrain_epochs",
        "data.resolution", "data.num_train", "data.num_heldout", "metrics.num_images", "metrics.k",
    )  # fmt: skip
    silent = [f"{key}={OmegaConf.select(OmegaConf.structured(config), key)}" for key in keys if key not in given]
    if silent and torchrun.is_first():
        print(
            f"experiment=quick, the default, sets {' '.join(silent)} for data={config.data.name} "
            f"generator={choices.get('generator')} too: override what does not suit, or choose experiment=none",
            file=sys.stderr,
        )


def check_values(overrides: Sequence[str]) -> list[BenchError]:
    """Return the errors in the values of a sweep, before its first chain trains.

    Each value is composed and checked once, with the first value of every other key. Equal errors are reported once.
    """
    from bench import preflight  # here, because it imports NumPy, which --help and mistakes in a single run do not need

    errors: list[BenchError] = []
    for line in each_value_once(overrides):
        try:
            config = protocols.compose_config(line)
            protocols.check(config)
            preflight.check(config)
        except ConfigErrors as error:
            errors += error.errors
        except BenchError as error:
            errors.append(error)
        except mistakes.Mistakes as error:
            errors += [BenchError(sentence) for sentence in mistakes.sentences(error, line)]
    return list({str(error): error for error in errors}.values())


def check_launcher() -> None:
    """Raise `ConfigError` if a launcher is chosen without a sweep: Hydra would run the chain on this machine, which may
    be the login node of a cluster."""
    hydra = HydraConfig.get()
    chosen = [override for override in hydra.overrides.hydra if override.startswith("hydra/launcher=")]
    if chosen and hydra.mode is not RunMode.MULTIRUN:
        words = " ".join([*hydra.overrides.hydra, *hydra.overrides.task])
        name = chosen[-1].partition("=")[2]
        again = re.sub(r"hydra\.mode=\S+ ?", "", words)
        raise ConfigError("hydra/launcher", name, f"starts the chains of a sweep: python -m bench -m {again}")


def values_of(overrides: Sequence[str]) -> list[list[str]]:
    """Return, for every override, the list of single-run overrides that a sweep expands it to: one for each value."""
    return [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [str(o.input_line)]
        for o in OverridesParser.create().parse_overrides(list(overrides))
    ]


def each_value_once(overrides: Sequence[str]) -> list[list[str]]:
    """Return lists of single-run overrides: the first value of every key, then one list for each further value, with
    the first value of every other key."""
    options = values_of(overrides)
    first = [values[0] for values in options]
    further = [[*first[:i], value, *first[i + 1 :]] for i, values in enumerate(options) for value in values[1:]]
    return [first, *further]


def compose_first(overrides: Sequence[str]) -> DictConfig:
    """Return the tree that Hydra composes for the first chain of a sweep."""
    return protocols.compose_tree(each_value_once(overrides)[0])


_started: list[int] = []
"""The number of chains of each sweep that this process, or the one that it was forked from, has started."""


def num_chains(overrides: Sequence[str]) -> int:
    """Return how many chains a sweep over these values has."""
    return math.prod(map(len, values_of(overrides)))


def place() -> tuple[int, int] | None:
    """Return the number of the running chain, counted from 1, and the number of chains in the sweep. None for a single
    run, and if another process started the sweep, because the number of chains is then unknown."""
    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN or not _started:
        return None
    return hydra.job.num + 1, _started[-1]


class Failures(Callback):
    """Hydra callback: checks the values of a sweep before it starts, and reports the failed chains when it ends."""

    def __init__(self, folder: str) -> None:
        """Create the callback. folder: The folder for the failures of this start of the sweep. Every start needs its
        own folder, because two sweeps of the same name, such as `quick`, may run at the same time and must not count or
        delete each other's failures."""
        self.folder = Path(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all values, create the folder of the sweep, and exit if something is wrong."""
        wrong = [str(error) for error in check_values(config.hydra.overrides.task)]
        _started.append(num_chains(config.hydra.overrides.task))
        if torchrun.num_processes() > 1 and config.hydra.launcher._target_ != BASIC_LAUNCHER:
            launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
            wrong.append(str(ConfigError("hydra/launcher", launcher, "under torchrun must be basic")))
        if not wrong:
            try:
                folder = Path(config.hydra.sweep.dir)
                folder.mkdir(parents=True, exist_ok=True)
                # Hydra writes this file next, but has no clear message for a disk that is full or read-only
                (folder / "multirun.yaml").write_text("\n".join(config.hydra.overrides.task))
            except OSError as error:
                why = f"cannot be written to: {error.strerror}"
                wrong = [str(ConfigError("output_dir", config.output_dir, why))]
        if wrong:
            for line in wrong:
                print(f"error: {line}", file=sys.stderr)
            sys.exit(WRONG_CONFIG)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table of the sweep and its failures, and exit with status 1 if there are any."""
        directory = Path(config.output_dir) / config.name
        if torchrun.is_first() and any(directory.glob(f"*/{ledger.FILENAME}")):
            from bench import conclusion

            conclusion.show([directory], directory)
        files = sorted(self.folder.glob("*.txt"), key=lambda file: int(file.stem))
        if files and torchrun.is_first():
            print(f"\n{len(files)} chain(s) of this sweep failed:", file=sys.stderr)
            for file in files:
                print("- " + file.read_text().replace("\n", "\n  ").rstrip(), file=sys.stderr)
            print("The same command again runs only what is missing.", file=sys.stderr)
        if torchrun.num_processes() > 1:
            from bench.machine import distributed

            distributed.barrier()  # one exit with an error ends all processes, even while they print
        shutil.rmtree(self.folder, ignore_errors=True)
        if files:
            sys.exit(FAILED)
