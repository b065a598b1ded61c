"""The functions of `import bench` for notebooks: compose a configuration, run it, load ledgers as a table, look at
samples, and write a report.

They do the same as the commands, with the same store, locks and stages. A mistake raises a `BenchError`, nothing ends
the process, and Hydra, which composes configurations, leaves no global state behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from hydra.core.config_store import ConfigStore

from bench import ledger, mistakes, protocols
from bench.config import Config, check, register_schemas, schemas
from bench.errors import BenchError, ConfigError, DataError
from bench.flatten import flatten
from bench.kinds import TOKENS, kind_of
from bench.ledger import Chain

if TYPE_CHECKING:
    import pandas
    from PIL.Image import Image

_composed: WeakValueDictionary[tuple[str, ...], Config] = WeakValueDictionary()
"""Overrides -> the configuration composed from them, to find the command that the ledger records."""


def compose(overrides: Sequence[str] = ()) -> Config:
    """Return the checked configuration of a command line: `compose(["experiment=quick", "seed=1"])`.

    The configuration is a tree of plain dataclasses, which may be changed before it is run. Raises `BenchError` for an
    override that does not exist, has the wrong type or is out of bounds.
    """
    if isinstance(overrides, str):
        raise ConfigError("overrides", overrides, 'must be a list, such as ["experiment=quick", "seed=1"]')
    with _hydra():
        config = protocols.compose_config(list(overrides))
    _composed[tuple(overrides)] = config
    return config


def run(config: Config, quiet: bool = False) -> Chain:
    """Run or resume one chain. Return its ledger: `chain.rows`, one row per generation, and `chain.directory`.

    Results that are in the store are not recomputed, so a second call only reads. The kernel may be interrupted at any
    time; the next call resumes. Progress goes to stderr.

    Args:
        config: A configuration from `compose`, possibly changed.
        quiet: Whether to show no progress.

    Raises:
        BenchError: Something is wrong that the user can correct; raised before training if it can be detected then.
        Interrupted: The process received SIGTERM; everything is saved.
    """
    from bench.loop import run_chain
    from bench.machine import environment, interrupt
    from bench.machine.console import Console

    with _hydra():
        check(config)  # it may have been changed since it was composed
        overrides = _overrides_of(config)
        protocols.check(config)
        with environment.run_from_python(overrides), interrupt.on_sigterm():
            directory = run_chain(config, Console(quiet=quiet))
    (chain,) = ledger.read_runs([directory])
    return chain


def _overrides_of(config: Config) -> tuple[str, ...] | None:
    """Return the overrides that compose to this configuration; None if it was changed or not made by `compose`."""
    found = [overrides for overrides, composed in _composed.items() if composed is config]
    return found[0] if found and protocols.compose_config(found[0]) == config else None


@contextmanager
def _hydra() -> Iterator[None]:
    """Register the project's schemas with Hydra for the body of the `with` and remove them afterwards, because the
    notebook may compose other configurations with Hydra. Raises `BenchError` for mistakes that Hydra finds."""
    groups = ConfigStore.instance().repo
    names = [(group, f"{name}_schema.yaml") for group, name, _ in schemas()]
    before = {(group, name): (groups.get(group, {}) if group else groups).get(name) for group, name in names}
    register_schemas()
    try:
        yield
    except mistakes.Mistakes as error:
        raise BenchError(mistakes.sentence(error)) from error
    finally:
        for (group, name), node in before.items():
            entries = groups[group] if group else groups
            if node is None:
                del entries[name]
            else:
                entries[name] = node
            if group and not entries:
                del groups[group]


def load(*runs: str | Path, keys: Sequence[str] = ()) -> "pandas.DataFrame":
    """Return the ledgers below some directories as one tidy table: one row per score, one column per variable.

    Columns: `chain`, `sweep`, `seed`, `policy`, `dataset`, `generator`, `generation`; `num_real`, `num_synthetic` and
    `synthetic_ratio` of the training set; `protocol`; `metric`, `feature_space`, `subject`, `reference`, `num_subject`,
    `num_reference`, `value`, `direction`. Further columns hold the parameters of the scores, such as `k` or
    `attribute`, and the statistics that are reported with them, such as `subset_sd` or `resplit_low`. These are missing
    for scores that do not have them.

    Args:
        runs: Directories of chains or sweeps, or ledger files.
        keys: Keys of the configuration that also become columns, such as `generator.training.num_steps`.

    Raises:
        LedgerError: There is no ledger, or one is damaged.
        ConfigError: No chain has such a key, or pandas is not installed.
    """
    pandas = _pandas()
    rows = [row for chain in ledger.read_runs([Path(run) for run in runs]) for row in chain.rows]
    configs = [flatten(row.config) for row in rows]
    unknown = [key for key in keys if not any(key in config for config in configs)]
    if unknown:
        raise ConfigError("keys", unknown[0], "no chain has such a key of the configuration")
    lines: list[dict[str, Any]] = []
    for row, config in zip(rows, configs, strict=True):
        about = {name: getattr(row, name) for name in ("chain", "sweep", "seed", "policy", "dataset", "generator")}
        made_of = {name: row.composition[name] for name in ("num_real", "num_synthetic", "synthetic_ratio")}
        chosen = {"protocol": row.protocol["name"], **{key: config.get(key) for key in keys}}
        for score in row.scores:
            values = {name: value for name, value in score.items() if not isinstance(value, dict)}
            lines.append({**about, "generation": row.generation, **made_of, **chosen, **values, **score["parameters"]})
    return pandas.DataFrame(lines)


def samples(chain: Chain | str | Path, generation: int | None = None) -> "Image | list[str]":
    """Return the probes of a generation for display: a picture of images or points, or a list of texts.

    Args:
        chain: The chain that `run` returned, or the directory of a chain.
        generation: The number of the generation; None: the last.

    Raises:
        LedgerError: There is no ledger, or one is damaged.
        ConfigError: There are several chains, or the chain has no such generation.
        DataError: The probes are no longer in the store, or are not those that were recorded.
    """
    from bench.analysis import shown
    from bench.analysis.artifacts import load_probes

    found = [chain] if isinstance(chain, Chain) else ledger.read_runs([Path(chain)])
    if len(found) > 1:
        raise ConfigError("chain", str(chain), f"has {len(found)} chains: give the directory of one")
    rows = {row.generation: row for row in found[0].rows}
    number = max(rows) if generation is None else generation
    if number not in rows:
        raise ConfigError("generation", number, f"must be one of {', '.join(map(str, rows))}")
    probes = load_probes(found[0], rows[number])
    if probes is None:
        raise DataError(f"the samples of {found[0].id}, generation {number}, are not in its store")
    show = shown.texts_of if kind_of(probes) is TOKENS else shown.picture
    return show(probes, rows[number], found[0].directory)


def _pandas() -> Any:
    try:
        import pandas
    except ModuleNotFoundError as error:
        hint = "needs the package pandas: pip install 'diffusion-collapse-bench[notebook]'"
        raise ConfigError("bench.load", "a table", hint) from error
    return pandas


class Report:
    """The report on chains: tables, verdicts, figures and a page, written as `python -m bench.report` writes them.

    As the last expression of a notebook cell, it is displayed as tables and verdicts.

    Attributes:
        paths: Every file that was written.
        text: The tables and verdicts as Markdown.
    """

    def __init__(self, *runs: str | Path, out: str | Path | None = None, mixed: bool = False) -> None:
        """Write the report.

        Args:
            runs: Directories of chains or sweeps, or ledger files.
            out: The directory to write to; None: report/ in the directory of the first sweep.
            mixed: Whether the runs may have different protocols or feature spaces.

        Raises:
            LedgerError: There is no ledger, one is damaged, or runs are mixed without permission.
            ConfigError: There are no runs, or `out` cannot be written to.
        """
        from bench.report import write
        from bench.report.__main__ import default_out

        self._runs = [Path(run) for run in runs]
        if not runs:
            raise ConfigError("runs", [], "must be at least one directory of chains or sweeps")
        written = write(self._runs, Path(out) if out else default_out(self._runs[0]), mixed=mixed)
        self.paths, self.text = written.paths, written.text

    @property
    def page(self) -> Path:
        """The HTML page, which needs no other file."""
        return next(path for path in self.paths if path.suffix == ".html")

    @property
    def figures(self) -> dict[str, Path]:
        """Name -> path of the PNG file; the SVG and PDF files are next to it."""
        return {path.stem: path for path in self.paths if path.suffix == ".png"}

    @property
    def tables(self) -> "pandas.DataFrame":
        """Every score per condition and generation, over seeds, from tables.csv. Raises `ConfigError` if pandas is not
        installed."""
        return _pandas().read_csv(next(path for path in self.paths if path.name == "tables.csv"))

    @cached_property
    def verdicts(self) -> list[dict[str, str]]:
        """The verdict on each condition: a dict with the keys study, condition, verdict and words (the explanation)."""
        from bench.analysis.study import studies
        from bench.analysis.verdicts import verdict

        return [
            {"study": study.title, "condition": condition.label, "verdict": found.badge, "words": found.words}
            for study in studies(ledger.read_runs(self._runs))
            for condition in study.conditions
            for found in [verdict(study, condition)]
        ]

    def _repr_markdown_(self) -> str:
        return self.text
