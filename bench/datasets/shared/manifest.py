"""Manifests describe the origin of a data set and its named subsets. The files are `data/*.yaml`."""

import difflib
import importlib.resources
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from bench.datasets.shared.source import Source
from bench.datasets.shared.split import hash_order
from bench.errors import DataError


@dataclass
class Subset:
    """A part of a data set. The rules that are set apply one after the other, in this order.

    Attributes:
        about: A description for readers.
        classes: Class names (with or without the leading "001.", with spaces or underscores) or label numbers from 0.
        where: Column -> value that an image must have in this column, e.g. padding_bar_px: 0.
        max_per_class: Largest number of images of each class, chosen by a fixed hash of their source ids.
        num_images: Total number of images, chosen by the same hash.
    """

    about: str = ""
    classes: list[Any] | None = None
    where: dict[str, int] = field(default_factory=dict)
    max_per_class: int | None = None
    num_images: int | None = None

    def rules(self) -> dict[str, Any]:
        """Return everything that can change the selection, that is, all fields except `about`."""
        return {key: value for key, value in asdict(self).items() if key != "about"}


@dataclass
class Manifest:
    """One data set: its title and size, where it comes from, the checksums of its files, its licence, and how to cite
    it."""

    name: str
    title: str
    homepage: str
    url: str | None
    checksums: dict[str, str]
    num_images: int
    num_classes: int
    licence: str
    citation: str
    subsets: dict[str, Subset] = field(default_factory=dict)


def shipped() -> dict[str, Manifest]:
    """Return every manifest of the package, by name."""
    files = importlib.resources.files("bench.data")
    texts = {file.name: file.read_text() for file in files.iterdir() if file.name.endswith(".yaml")}
    return {Path(name).stem: parse(Manifest, text, name) for name, text in sorted(texts.items())}


def parse(kind: type, text: str, where: str) -> Any:
    """Return YAML text as an instance of the dataclass `kind`. Raises `DataError`, which names the file `where` and the
    key."""
    try:
        tree = OmegaConf.create(text)
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), tree))
    except (OmegaConfBaseException, YAMLError, ValueError, TypeError) as error:
        raise DataError(f"{where} is not a {kind.__name__.lower()} in YAML: {error}") from error


def find_subset(name: str | None, manifest: Manifest | None) -> Subset | None:
    """Return the subset that `data.subset` names: a subset of the manifest, or the path of a YAML file with one subset.

    Raises `DataError` for an unknown name and for a missing or invalid file.
    """
    if name is None:
        return None
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise DataError(f"data.subset={name!r}: there is no such file")
        return parse(Subset, path.read_text(), str(path))
    known = manifest.subsets if manifest is not None else {}
    if name not in known:
        allowed = f"must be one of {', '.join(known)}, or" if known else "this source has no named subsets: give"
        raise DataError(f"data.subset={name!r}: {allowed} the path of a YAML file")
    return known[name]


def select(source: Source, subset: Subset) -> np.ndarray:
    """Return the row numbers of the subset, int64 (n,), ascending.

    Raises `DataError` for an unknown class or column and for too few images.
    """
    rows = np.arange(len(source), dtype=np.int64)
    if subset.classes is not None:
        names = _class_names(source, "classes")
        selected = [_class_index(entry, names) for entry in subset.classes]
        rows = rows[np.isin(source.labels["class"][rows], selected)]
    for column, value in subset.where.items():
        if column not in source.facts:
            known = ", ".join(source.facts) or "this source has none"
            raise DataError(f"the subset asks for {column}={value}; columns that it can select on: {known}")
        rows = rows[source.facts[column][rows] == value]
    if subset.max_per_class is not None:
        _class_names(source, "max_per_class")
        rows = _first_of_each_class(rows, source, subset.max_per_class)
    if subset.num_images is not None:
        if len(rows) < subset.num_images:
            raise DataError(f"the subset asks for {subset.num_images} images, but only {len(rows)} match the rest")
        rows = np.sort(rows[_order(rows, source)[: subset.num_images]])
    if len(rows) == 0:
        raise DataError(f"no image matches the subset {subset.rules()}")
    return rows


def _order(rows: np.ndarray, source: Source) -> np.ndarray:
    return hash_order([source.source_ids[row] for row in rows], "subset")


def _first_of_each_class(rows: np.ndarray, source: Source, limit: int) -> np.ndarray:
    queue = rows[_order(rows, source)]
    labels = source.labels["class"][queue]
    kept = [queue[labels == label][:limit] for label in np.unique(labels)]
    return np.sort(np.concatenate(kept)) if kept else rows


def _class_names(source: Source, rule: str) -> list[str]:
    """Return the names of the classes. Raises `DataError`, which names the rule that needs them, if there are none."""
    if "class" not in source.labels:
        raise DataError(f"the subset has {rule!r}, but this source has no class labels")
    return source.label_names["class"]


def plain(name: str) -> str:
    """Return a class name in lower case without its number and punctuation: "001.Sweet_pea" -> "sweet pea"."""
    return re.sub(r"[\W_]+", " ", re.sub(r"^\d+\.", "", name)).strip().lower()


def _class_index(entry: Any, names: Sequence[str]) -> int:
    if isinstance(entry, int) and not isinstance(entry, bool):
        if not 0 <= entry < len(names):
            raise DataError(f"the subset asks for class number {entry}: must lie in [0, {len(names) - 1}]")
        return entry
    if entry in names:
        return names.index(entry)
    spelt = [plain(name) for name in names]
    matches = [index for index, name in enumerate(spelt) if name == plain(str(entry))]
    if len(matches) == 1:
        return matches[0]
    near = difflib.get_close_matches(plain(str(entry)), spelt, n=3, cutoff=0.5)
    known = (
        f"did you mean {', '.join(names[spelt.index(n)] for n in near)}?" if near else f"e.g. {', '.join(names[:3])}"
    )
    raise DataError(f"the subset asks for class {entry!r}, which the data set does not have: {known}")
