"""The files that every result of a stage must have, whatever its manifest says.

A name that ends with a slash means a folder with at least one file. The component that writes the folder chooses the
names of its files.
"""

from collections.abc import Collection, Mapping, Sequence

_POOL = ("items.npy", "records.npz", "pool.json")
_COMPOSITION = ("composition.json", "composition.npz")


def _inside(folder: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


REQUIRED: Mapping[str, tuple[str, ...]] = {
    "real": (*_inside("train", _POOL), *_inside("heldout", _POOL)),
    "join": (*_inside("pool", _POOL), *_COMPOSITION),
    "vet": (*_inside("drawn", _COMPOSITION), *_inside("vetted", _COMPOSITION), "kept.npy"),
    "train": (*_COMPOSITION, "model/"),
    "remedy": (*_inside("own", _POOL), "model/"),
    "sample": (*_inside("pool", _POOL), "probes.npy"),
    "select": (*_inside("pool", _POOL), "rows.npy"),
    "features": ("features.npy",),
    "marks": ("marks.npy",),
    "reference": (),  # one array per statistic
    "floor": ("scores.json",),
    "score": ("scores.json",),
}


def absent(required: Sequence[str], names: Collection[str]) -> str | None:
    """Return the first required file or folder that is not among the names of a result's files; None if all are."""
    for wanted in required:
        if not (any(name.startswith(wanted) for name in names) if wanted.endswith("/") else wanted in names):
            return wanted
    return None
