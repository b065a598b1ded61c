"""From chains to what is compared: studies of conditions, over generations and seeds.

A study holds the chains that differ in nothing but mixing policy and seed, so only within one are numbers
averaged and compared. A condition is one mixing policy with its parameters; its chains are its seeds.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config import LOCAL_KEYS
from bench.errors import LedgerError
from bench.ledger import Chain, Row

MAIN_METRICS = ("fid", "precision", "recall")
PLACES = ("data.root", "data.path", "data.subset", "data.download")
"""Where the real images lie on one machine. What they are is said by `data_content`."""
NOT_THE_SETTING = (*LOCAL_KEYS, *PLACES, "seed", "mixing", "protocol")
"""Configuration keys in which the chains of one study may differ."""


@dataclass(frozen=True)
class Condition:
    """ratio: the synthetic share of the training set from generation 1 on, where it is one number; else
    None."""

    policy: str
    label: str
    ratio: float | None
    parameters: str


@dataclass(frozen=True)
class Measure:
    """Which score, so exactly that two of them may be compared."""

    metric: str
    feature_space: str
    reference: str
    num_subject: int
    num_reference: int
    parameters: str
    direction: str

    @property
    def arrow(self) -> str:
        return "↑" if self.direction == "up" else "↓"

    @property
    def attribute(self) -> str | None:
        """The labelled attribute that the score is of, for scores that have one."""
        return json.loads(self.parameters).get("attribute")

    @property
    def sizes(self) -> str:
        """N on both sides, and the parameters."""
        n = f"N = {self.num_subject}"
        if self.num_reference != self.num_subject:
            n += f" against {self.num_reference}"
        given = json.loads(self.parameters)
        return ", ".join([n, *(f"{name} = {value}" for name, value in given.items())])


@dataclass(frozen=True, eq=False)
class Study:
    """Chains that may be compared. chains[condition][seed] is one chain; conditions come by policy and
    ratio. protocol: its name and version, or that there is none. hash: of the setting that all chains share.
    """

    title: str
    protocol: str
    hash: str
    chains: dict[Condition, dict[int, Chain]]
    notes: list[str] = field(default_factory=list)

    @property
    def conditions(self) -> list[Condition]:
        return list(self.chains)

    def last_of(self, condition: Condition) -> int:
        """The last generation that every seed of a condition has."""
        return min(chain.rows[-1].generation for chain in self.chains[condition].values())

    def longest(self, condition: Condition) -> Chain:
        """The chain of a condition that got furthest; of several, the one with the lowest seed."""
        return max(self.chains[condition].values(), key=lambda chain: len(chain.rows))

    @property
    def by_ratio(self) -> bool:
        """Whether the ratio alone tells the conditions apart: one policy, otherwise with equal parameters. Plain
        replacement is blending at a ratio of 1."""
        ratios = [c.ratio for c in self.chains]
        families = {(c.policy, _but_ratio(c.parameters)) for c in self.chains}
        if {policy for policy, _ in families} == {"blend", "replace"}:
            families.discard(("replace", "{}"))
        return len(families) == 1 and None not in ratios and len(set(ratios)) == len(ratios)

    @property
    def generations(self) -> list[int]:
        return sorted({row.generation for row in self.rows()})

    @property
    def last_common(self) -> int:
        """The last generation that every chain has."""
        return min(self.last_of(condition) for condition in self.chains)

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for seeds in self.chains.values() for seed in seeds})

    def rows(self) -> list[Row]:
        return [row for seeds in self.chains.values() for chain in seeds.values() for row in chain.rows]

    def measures(self, metric: str | None = None) -> list[Measure]:
        """The scores that some samples have, in the order of the ledger."""
        found = {_measure(s): None for row in self.rows() for s in row.scores if s["subject"] == "samples"}
        return [m for m in found if metric in (None, m.metric)]

    def primary(self, metric: str) -> Measure | None:
        """The one that verdicts and overviews are made of: against held-out images where there is one, else the
        first."""
        found = self.measures(metric)
        return next((m for m in found if m.reference == "heldout"), found[0] if found else None)

    def values(self, condition: Condition, generation: int, measure: Measure) -> dict[int, float]:
        """seed -> value, for the seeds that have it."""
        found = {}
        for seed, chain in self.chains[condition].items():
            values = [dict(_scores(row, "samples")) for row in chain.rows if row.generation == generation]
            if values and measure in values[0]:
                found[seed] = values[0][measure]
        return found

    def floor(self, measure: Measure) -> float | None:
        """The same score of real training images: what a perfect generator would reach. None where it was not
        computed."""
        return self.baselines(measure).get("real_train")

    def baselines(self, measure: Measure) -> dict[str, float]:
        """subject -> the same score of what no chain made: real images (the floor), and samples and reference shuffled
        together. The mean over rows: the first is the same in all of them, the second hardly differs."""
        found: dict[str, list[float]] = {}
        for row in self.rows():
            for entry in row.scores:
                if entry["subject"] != "samples" and _measure(entry) == measure:
                    found.setdefault(entry["subject"], []).append(entry["value"])
        return {subject: sum(values) / len(values) for subject, values in found.items()}


def _measure(score: dict[str, Any]) -> Measure:
    return Measure(
        metric=score["metric"],
        feature_space=score["feature_space"],
        reference=score["reference"],
        num_subject=score["num_subject"],
        num_reference=score["num_reference"],
        parameters=json.dumps(score["parameters"], sort_keys=True),
        direction=score["direction"],
    )


def _scores(row: Row, subject: str) -> list[tuple[Measure, float]]:
    return [(_measure(s), s["value"]) for s in row.scores if s["subject"] == subject]


def protocol_of(row: Row) -> str:
    """`collapse-v1 version 2`, with `(deviating)` where values differ from the frozen ones, or `no protocol`."""
    name, version = row.protocol.get("name"), row.protocol.get("version")
    if not name:
        return "no protocol"
    return f"{name} version {version}" + (" (deviating)" if row.protocol.get("deviations") else "")


def check_unmixed(chains: Iterable[Chain]) -> None:
    """Raises `LedgerError` where rows follow different protocols or were scored in different feature spaces: their
    numbers stand side by side only where a person asked for that."""
    rows = [row for chain in chains for row in chain.rows]
    protocols = sorted({protocol_of(row) for row in rows})
    spaces = sorted({" + ".join(sorted({s["feature_space"] for s in row.scores})) for row in rows})
    for what, found in (("protocols", protocols), ("feature spaces", spaces)):
        if len(found) > 1:
            raise LedgerError(f"these runs mix {what}: {'; '.join(found)}. Give --mixed to show them all, marked")


def condition_of(row: Row) -> Condition:
    """The mixing policy that the row's chain follows."""
    given = row.config.get("mixing", {})
    parameters = {name: value for name, value in given.items() if name != "policy" and value is not None}
    ratio = 1.0 if row.policy == "replace" else parameters.get("synthetic_ratio")
    if not isinstance(ratio, int | float):
        ratio = None
    if row.policy == "blend" and ratio is not None and parameters.get("real_part", "redrawn") == "redrawn":
        label = f"{ratio:.2f}"
    else:
        said = ", ".join(f"{_short(name)} {_text(value)}" for name, value in parameters.items())
        label = row.policy.replace("_", " ") + (f" ({said})" if said else "")
    return Condition(row.policy, label, ratio, json.dumps(parameters, sort_keys=True))


def _but_ratio(parameters: str) -> str:
    return json.dumps({k: v for k, v in json.loads(parameters).items() if k != "synthetic_ratio"})


def _short(name: str) -> str:
    return {"synthetic_ratio": "r", "synthetic_per_real": "λ", "num_generations": "last", "real_part": "real"}.get(
        name, name.replace("_", " ")
    )


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def studies(chains: Iterable[Chain]) -> list[Study]:
    """Groups chains by everything but mixing policy and seed. Raises `LedgerError` where one seed of one
    condition is there twice."""
    groups: dict[str, list[Chain]] = {}
    for chain in chains:
        groups.setdefault(_setting(chain.rows[0]), []).append(chain)
    shown = {setting: _shown(members[0].rows[0], json.loads(setting)) for setting, members in groups.items()}
    differing = _differing(list(shown.values()))
    found = []
    for setting, members in groups.items():
        by_condition: dict[Condition, dict[int, Chain]] = {}
        for chain in members:
            row = chain.rows[0]
            seeds = by_condition.setdefault(condition_of(row), {})
            if row.seed in seeds:
                raise LedgerError(
                    f"chains {seeds[row.seed].id} and {chain.id} are the same policy and seed: give one of the two"
                )
            seeds[row.seed] = chain
        ordered = sorted(by_condition, key=lambda c: (c.policy, 2.0 if c.ratio is None else c.ratio, c.label))
        in_order = {c: dict(sorted(by_condition[c].items())) for c in ordered}
        title = _title(members, shown[setting], differing)
        digest = hashlib.sha256(setting.encode()).hexdigest()[:8]
        found.append(Study(title, protocol_of(members[0].rows[0]), digest, in_order, _notes(in_order)))
    return sorted(found, key=lambda study: study.title)


def _setting(row: Row) -> str:
    everything = {"dataset": row.dataset, "generator.name": row.generator, **flat(row.config)}
    local = tuple(f"{key}." for key in NOT_THE_SETTING)
    kept = {k: v for k, v in everything.items() if not f"{k}.".startswith(local)}
    return json.dumps({**kept, "data.content": data_content(row), "protocol": protocol_of(row)}, sort_keys=True)


def data_content(row: Row) -> str:
    """Which real images, split how: the hash of their spec, in which files count by checksum, wherever they lie. The
    file's name where a ledger does not tell."""
    return Path(row.artifacts.get("real") or row.config.get("data", {}).get("path", "")).name


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def _shown(row: Row, setting: dict[str, Any]) -> dict[str, Any]:
    """The setting as titles name it: files by their names, the content's hash cut short."""
    data = row.config.get("data", {})
    names = {f"data.{key}": Path(data[key]).name for key in ("path", "subset") if data.get(key)}
    return {**setting, **names, "data.content": setting["data.content"][:8]}


def _differing(settings: list[dict[str, Any]]) -> list[str]:
    keys = sorted({key for setting in settings for key in setting})
    return [key for key in keys if len({json.dumps(setting.get(key)) for setting in settings}) > 1]


def _title(chains: list[Chain], setting: dict[str, Any], differing: list[str]) -> str:
    sweeps = sorted({chain.rows[0].sweep for chain in chains})
    row = chains[0].rows[0]
    resolution = row.config.get("data", {}).get("resolution")
    size = f" at {resolution} px" if resolution else ""
    title = f"{', '.join(sweeps)}: {row.dataset}{size}, {row.generator}"
    said: tuple[str, ...] = ("dataset", "generator.name", "data.resolution", "data.name", "data.kind")
    if any(key.startswith("data.") for key in differing if key != "data.content"):
        said += ("data.content",)  # it differs because of what is named
    plain = [key for key in differing if key not in said]
    extra = ", ".join(f"{key}={setting.get(key)}" for key in plain[:4])
    return title + (f" ({extra}{', …' if len(plain) > 4 else ''})" if extra else "")


def _notes(chains: dict[Condition, dict[int, Chain]]) -> list[str]:
    """What a reader must know: damage, chains of different length, conditions with fewer seeds."""
    notes = [note for seeds in chains.values() for chain in seeds.values() for note in chain.notes]
    lengths = {chain.id: chain.rows[-1].generation for seeds in chains.values() for chain in seeds.values()}
    longest = max(lengths.values())
    notes += [f"{name} ends at generation {g} of {longest}" for name, g in lengths.items() if g < longest]
    seeds_of = {c.label: len(seeds) for c, seeds in chains.items()}
    if len(set(seeds_of.values())) > 1:
        notes.append("seeds per condition differ: " + ", ".join(f"{c} has {n}" for c, n in seeds_of.items()))
    if 1 in seeds_of.values():
        notes.append("conditions with a single seed have no interval: differences there may be noise")
    notes += [note for c, seeds in chains.items() if (note := _precisions(c, seeds))]
    return notes + _missing_floors([row for seeds in chains.values() for chain in seeds.values() for row in chain.rows])


def _missing_floors(rows: list[Row]) -> list[str]:
    """That there is no floor at the N of the samples, where real training images were too few for it."""
    sizes: dict[str, set[int]] = {"samples": set(), "real_train": set()}
    for row in rows:
        for entry in row.scores:
            if entry["reference"] == "heldout" and entry["subject"] in sizes:
                sizes[entry["subject"]].add(entry["num_subject"])
    largest = max(sizes["real_train"], default=0)
    return [
        f"no floor at N = {n}: there are too few training images for it, so real images were scored at N = {largest}"
        for n in sorted(sizes["samples"] - sizes["real_train"])
        if 0 < largest < n
    ]


def _precisions(condition: Condition, seeds: dict[int, Chain]) -> str:
    """That one condition was computed in several number formats; "" where it was not."""
    found: dict[str, set[int]] = {}
    for seed, chain in seeds.items():
        for row in chain.rows:
            found.setdefault(str(row.environment.get("precision") or "unknown"), set()).add(seed)
    if len(found) < 2:
        return ""
    said = [f"{precision}: {', '.join(map(str, sorted(numbers)))}" for precision, numbers in sorted(found.items())]
    return f"{condition.label}: seeds were run in different precision ({'; '.join(said)}): it may be why they differ"


def probes_path(chain: Chain, row: Row) -> Path | None:
    """The stored probes of a generation, uint8 (P, 3, H, W) npy; None where the file is gone."""
    return artifact_path(chain, row, "probes")


def artifact_path(chain: Chain, row: Row, name: str) -> Path | None:
    """A stored result of a row: below the store that the row names or, where the outputs were moved, below
    the one beside the sweep. A key `stage/hash` is kept under `stage/ha/hash`."""
    if name not in row.artifacts:
        return None
    stage, digest, *rest = Path(row.artifacts[name]).parts
    inside = [Path(row.artifacts[name]), Path(stage, digest[:2], digest, *rest)]
    for store in (Path(row.store_dir), chain.directory.parent.parent / "store"):
        for path in inside:
            if (store / path).exists():
                return store / path
    return None
