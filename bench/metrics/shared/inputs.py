"""What a family of scores computes from, and what it returns. A family gets what its `NEEDS` name, and nothing else."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from bench.kinds import Items
    from bench.metrics.shared.class_survival import Attribute
    from bench.metrics.shared.frechet_distance import Statistics
    from bench.metrics.shared.neighbours import Points
    from bench.metrics.shared.reference import ReferenceStatistics

NEEDS = ("features", "items", "labels", "training", "model")
"""What a family may ask for."""

Risk = Callable[["Items"], dict[str, np.ndarray]]
"""The loss of the subject's model on N items: "total" and parts of it, float64 (N,) each."""


@dataclass(frozen=True)
class Value:
    """One score before it becomes a row.

    direction: which way is better, "up" or "down". parameters: what it was computed with, such as k; part of its
    name. extra: more columns of its row.
    """

    metric: str
    value: float
    direction: str
    parameters: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Two sets to compare, in the forms that families need. Equal N on both sides.

    features: float (N, d) of the subject and of the reference. items: the subject's and the reference's, by kind.
    attributes (labels): a classifier for every labelled attribute of the real items. training: float (T, d), features
    of the training set of the subject's model; training_items: the set itself. model: the risk of the subject's model.
    k: of nearest neighbours. known: the statistics of the reference, where they are already computed.
    """

    features: tuple[np.ndarray, np.ndarray] | None = None
    items: "tuple[Items, Items] | None" = None
    attributes: "Mapping[str, Attribute] | None" = None
    training: np.ndarray | None = None
    training_items: "Items | None" = None
    model: Risk | None = None
    k: int = 3
    known: "ReferenceStatistics | None" = None
    device: "str | torch.device" = "cpu"

    def has(self, needs: tuple[str, ...]) -> bool:
        """Return whether everything that a family needs is here."""
        return all(getattr(self, "attributes" if need == "labels" else need) is not None for need in needs)

    def only(self, needs: tuple[str, ...]) -> "Inputs":
        """Return the inputs without what a family does not need."""
        hidden = {
            "features": ("features", "known"),
            "items": ("items", "training_items"),
            "labels": ("attributes",),
            "training": ("training", "training_items"),
            "model": ("model",),
        }
        names = {name for need, fields in hidden.items() if need not in needs for name in fields}
        return replace(self, **dict.fromkeys(names))  # type: ignore[arg-type]

    @property
    def subject(self) -> np.ndarray:
        """float (N, d) features of the subject."""
        assert self.features is not None
        return self.features[0]

    @property
    def reference(self) -> np.ndarray:
        """float (N, d) features of the reference."""
        assert self.features is not None
        return self.features[1]

    @functools.cached_property
    def moments(self) -> "Statistics":
        """The reference's, for the Fréchet distance."""
        from bench.metrics.shared.frechet_distance import Statistics

        return self.known.moments if self.known else Statistics.of(self.reference, self.device)

    @functools.cached_property
    def points(self) -> "tuple[Points, Points]":
        """Subject and reference, for neighbours."""
        from bench.metrics.shared.neighbours import Points

        distances = self.known.own_distances if self.known else None
        return Points.of(self.subject, self.device), Points.of(self.reference, self.device, distances)
