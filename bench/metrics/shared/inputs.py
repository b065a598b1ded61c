"""Inputs of a score family, and the values that it returns. A family gets only the inputs that its `NEEDS` name."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from bench.kinds import Items
    from bench.metrics.shared.classifier import Attribute
    from bench.metrics.shared.frechet_distance import Statistics
    from bench.metrics.shared.hallucination import PairJudge
    from bench.metrics.shared.neighbours import Points
    from bench.metrics.shared.reference import ReferenceStatistics

NEEDS = ("features", "items", "labels", "training", "model", "first_model", "past")
"""The inputs that a family may name in its `NEEDS`."""

Risk = Callable[["Items"], dict[str, np.ndarray]]
"""Maps N items to the loss of a model on each item: "total" and its parts, float64 (N,) each."""
TrueRisk = Callable[["Items"], np.ndarray]
"""Maps N items to the loss of the true distribution on each item, float64 (N,)."""


@dataclass(frozen=True, eq=False)
class Past:
    """The outputs of the chain up to the generation of the subject.

    Attributes:
        generation: The generation of the subject.
        features: float (N, d) of the samples of each earlier generation; empty for families without features.
        marks: (a generation up to the subject's, N items) -> strength of that generation's watermark in each item,
            float64 (N,); None without a watermark.
        heldout_marks: The same strengths for the held-out items, for each generation up to the subject's; empty without
            a watermark, and for families without items.
    """

    generation: int
    features: tuple[np.ndarray, ...] = ()
    marks: "Callable[[int, Items], np.ndarray] | None" = None
    heldout_marks: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Value:
    """One score before it becomes a row.

    Attributes:
        metric: Name of the score.
        value: The score.
        direction: Which values are better: "up" (higher), "down" (lower) or "none" (neither, the score is descriptive).
        parameters: Parameters of the computation, such as k; together with `metric` they identify the score.
        extra: Further columns of the row.
    """

    metric: str
    value: float
    direction: str
    parameters: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Two sets to compare, with equal N, in the forms that families need. An input is None if it is not available.

    Attributes:
        features: float (N, d) features of the subject and of the reference.
        items: The items of the subject and of the reference, arrays of one kind.
        attributes: Cross-fitted classifiers of every labelled attribute of the real items (need "labels").
        judges: Two attributes -> the judge that recognises pairs of their classes that do not exist, if the data set
            offers calibration items (need "labels").
        training: float (T, d) features of the training set of the subject's model.
        training_items: The items of the training set.
        twin: float (m, d) features of items that the model trained on, and of the same number of other items of the
            same pools (`bench.twin`). None if there are no such items, also for a family that needs training.
        twin_items: The items of both sides of the twin.
        model: The risk of the subject's model.
        first_model: The risk of the model of generation 0 of the subject's chain.
        true_risk: The risk of the true distribution, for families that need the model; None unless the distribution is
            known and `model` is comparable with it.
        past: The outputs of the chain up to the generation of the subject.
        k: Number of nearest neighbours.
        known: Statistics of the reference if they are already computed.
        device: The device to compute on.
    """

    features: tuple[np.ndarray, np.ndarray] | None = None
    items: "tuple[Items, Items] | None" = None
    attributes: "Mapping[str, Attribute] | None" = None
    judges: "Mapping[tuple[str, str], PairJudge] | None" = None
    training: np.ndarray | None = None
    training_items: "Items | None" = None
    twin: tuple[np.ndarray, np.ndarray] | None = None
    twin_items: "tuple[Items, Items] | None" = None
    model: Risk | None = None
    first_model: Risk | None = None
    true_risk: TrueRisk | None = None
    past: Past | None = None
    k: int = 3
    known: "ReferenceStatistics | None" = None
    device: "str | torch.device" = "cpu"

    def has(self, needs: tuple[str, ...]) -> bool:
        """Return whether all inputs in `needs` are available."""
        here = {
            "features": self.features is not None,
            "items": self.items is not None,
            "labels": self.attributes is not None,
            "training": self.training is not None or self.training_items is not None,
            "model": self.model is not None,
            "first_model": self.first_model is not None,
            "past": self.past is not None,
        }
        return all(here[need] for need in needs)

    def only(self, needs: tuple[str, ...]) -> "Inputs":
        """Return the inputs without everything that is not in `needs`."""
        hidden = {
            "features": "features" not in needs,
            "known": "features" not in needs,
            "items": "items" not in needs,
            "attributes": "labels" not in needs,
            "judges": "labels" not in needs,
            "training": not {"training", "features"} <= set(needs),
            "twin": not {"training", "features"} <= set(needs),
            "training_items": not {"training", "items"} <= set(needs),
            "twin_items": not {"training", "items"} <= set(needs),
            "model": "model" not in needs,
            "first_model": "first_model" not in needs,
            "past": "past" not in needs,
            "true_risk": "model" not in needs,
        }
        return replace(self, **{name: None for name, hide in hidden.items() if hide})  # type: ignore[arg-type]

    @property
    def subject(self) -> np.ndarray:
        """Return the features of the subject, float (N, d)."""
        assert self.features is not None
        return self.features[0]

    @property
    def reference(self) -> np.ndarray:
        """Return the features of the reference, float (N, d)."""
        assert self.features is not None
        return self.features[1]

    @functools.cached_property
    def moments(self) -> "Statistics":
        """Return the moments of the reference, for the Fréchet distance."""
        from bench.metrics.shared.frechet_distance import Statistics

        return self.known.moments if self.known else Statistics.of(self.reference, self.device)

    @functools.cached_property
    def points(self) -> "tuple[Points, Points]":
        """Return subject and reference as points, for nearest neighbours."""
        from bench.metrics.shared.neighbours import Points

        distances = self.known.own_distances if self.known else None
        return Points.of(self.subject, self.device), Points.of(self.reference, self.device, distances)
