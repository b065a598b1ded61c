"""What a sweep says of its chains: one that fails is named with its traceback, and does not stop the others.

A failed job leaves a file below the sweep's own folder, so that it is found whichever process or machine it ran on; the
callback reads them when all jobs have ended, and sets the exit status.
"""

import copy
import itertools
import logging
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import protocols
from bench.config import from_hydra
from bench.errors import BenchError, ConfigError, DataError

log = logging.getLogger(__name__)

FAILED = 1
WRONG_CONFIG = 2
"""Exit statuses: a chain failed; the configuration, or the data it names, cannot be used."""


def failed(error: Exception) -> str:
    """Called where a chain's job has failed. A single run ends here, with its exit status; in a sweep the failure is
    written down for the end, and the next job runs."""
    hydra = HydraConfig.get()
    overrides = " ".join(hydra.overrides.task)
    expected = isinstance(error, BenchError)
    text = str(error) if expected else "".join(traceback.format_exception(error))
    log.error("%s: %s", type(error).__name__, text)
    if hydra.mode is not RunMode.MULTIRUN:
        sys.exit(WRONG_CONFIG if isinstance(error, ConfigError | DataError) else FAILED)
    folder = Path(hydra.sweep.dir) / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{hydra.job.num}.txt").write_text(f"{overrides}\n{type(error).__name__}: {text}\n")
    return "failed"


class Combinations:
    """The configurations of a sweep, a chain each, in Hydra's order. Hydra composes those that differ in the choice of
    a group; among them, plain values are exchanged, which takes a tenth of the time."""

    def __init__(self, overrides: Sequence[str]) -> None:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        self.choices = [
            [f"{o.get_key_element()}={v}" for v in o.sweep_string_iterator()]
            if o.is_sweep_override()
            else [str(o.input_line)]
            for o in parsed
        ]
        self._first = [options[0] for options in self.choices]
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        start = self._compose(self._first)
        self._plain = [all(with_value(start, option) for option in options[1:]) for options in self.choices]

    def all(self) -> Iterator[DictConfig]:
        return (self._tree(line) for line in itertools.product(*self.choices))

    def each_value_once(self) -> Iterator[DictConfig]:
        """The others at their first: it takes as long as there are values and not as there are chains."""
        yield self._tree(self._first)
        for i, options in enumerate(self.choices):
            for option in options[1:]:
                yield self._tree([*self._first[:i], option, *self._first[i + 1 :]])

    def _tree(self, line: Sequence[str]) -> DictConfig:
        tree: DictConfig | None = self._compose(
            [first if plain else option for option, first, plain in zip(line, self._first, self._plain, strict=True)]
        )
        for option, first, plain in zip(line, self._first, self._plain, strict=True):
            if plain and option != first:
                tree = with_value(tree, option) if tree else None
        return tree or self._compose(line)

    def _compose(self, line: Sequence[str]) -> DictConfig:
        if tuple(line) not in self._composed:
            self._composed[tuple(line)] = protocols.compose_tree(line)
        return self._composed[tuple(line)]


def with_value(tree: DictConfig, override: str) -> DictConfig | None:
    """A copy of the tree with one more override, applied as Hydra does, where that is a plain value in place of
    another. None for anything else, a choice of a group and a value of a wrong type included."""
    parsed = OverridesParser.create().parse_override(override)
    before = OmegaConf.select(tree, parsed.key_or_group, throw_on_missing=False)
    if parsed.type is not OverrideType.CHANGE or parsed.package or before is None or OmegaConf.is_dict(before):
        return None
    after = copy.deepcopy(tree)
    try:
        OmegaConf.update(after, parsed.key_or_group, parsed.value(), merge=True)
    except OmegaConfBaseException:
        return None
    return after


def check_values(combinations: Combinations) -> list[BenchError]:
    """What is wrong with the values of a sweep, before its first chain trains."""
    from bench import generators, mixing  # NumPy only now: help and mistakes in a single run do not wait for it

    errors: list[BenchError] = []
    for tree in combinations.each_value_once():
        try:
            config = from_hydra(tree)
            protocols.check(config)
            generators.check(config.generator, config.data.resolution)
            mixing.resolve(config.mixing)
        except BenchError as error:
            errors.append(error)
    return errors


class Failures(Callback):
    """Hydra callback: checks a sweep's values before it starts, ends one that is finished already, and reports the
    chains that failed when it ends."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        combinations = Combinations(config.hydra.overrides.task)
        errors = check_values(combinations)
        if errors:
            for error in errors:
                print(f"error: {error}", file=sys.stderr)
            sys.exit(WRONG_CONFIG)
        shutil.rmtree(Path(config.hydra.sweep.dir) / "failed", ignore_errors=True)
        from bench import finished

        if finished.all_read(from_hydra(tree) for tree in combinations.all()):
            sys.exit(0)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        files = sorted((Path(config.hydra.sweep.dir) / "failed").glob("*.txt"), key=lambda file: int(file.stem))
        if not files:
            return
        print(f"\n{len(files)} chain(s) of this sweep failed:", file=sys.stderr)
        for file in files:
            print("- " + file.read_text().replace("\n", "\n  ").rstrip(), file=sys.stderr)
        print("The same command again runs only what is missing.", file=sys.stderr)
        sys.exit(FAILED)
