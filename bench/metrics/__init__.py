"""Compute every score of one subject against one reference, as rows of one long table.

A score family is one file. It offers `NEEDS` (features, items, labels, training, model, first_model, past: the family
gets only these inputs), `METRICS` (the names of its scores), `VERSION`, `CITATION` (metric -> BibTeX), `score(inputs,
config)`, which yields values, a `Config` if it has options, and `KINDS` if it scores only some kinds of items.
`COMPARISON = True` states that it only compares two sets, so that it is also computed against every other reference and
for the shuffled control. `OWN_SPREAD = True` states that its scores have their own standard deviation and need no
`image_sd`. A user-defined family is `module:function` in `metrics.scores`, with its options in `metrics.options`
(docs/extending/). Importing this package or a family does not load torch.
"""

import functools
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import registry
from bench.config import SCHEMA, MetricsConfig
from bench.errors import ConfigError, MetricError
from bench.kinds import KINDS
from bench.metrics.shared.inputs import NEEDS, Inputs, Past, Risk, TrueRisk, Value
from bench.options import stage_values

if TYPE_CHECKING:
    import torch

    from bench.kinds import Items
    from bench.metrics.shared.classifier import Attribute
    from bench.metrics.shared.hallucination import PairJudge
    from bench.metrics.shared.reference import ReferenceStatistics

log = logging.getLogger(__name__)

__all__ = [
    "Family",
    "Inputs",
    "Past",
    "Value",
    "families",
    "in_extra_spaces",
    "needs",
    "same_size",
    "score",
    "score_spec",
    "score_with_controls",
    "shuffled",
    "with_resplits",
]


@dataclass(frozen=True)
class Family:
    """A score family that is ready to be computed. options: an instance of its `Config`, or None if it has none."""

    name: str
    module: ModuleType
    function: Callable[[Inputs, Any], Iterator[Value]]
    options: Any

    @property
    def needs(self) -> tuple[str, ...]:
        """The inputs that the family uses, from `NEEDS`."""
        return tuple(self.module.NEEDS)

    @property
    def is_comparison(self) -> bool:
        """Whether the family only compares two sets of features."""
        return getattr(self.module, "COMPARISON", False)


def families(config: MetricsConfig) -> list[Family]:
    """Return the families of `config.scores`. Raises `ConfigError` for a family that cannot be imported, has unknown
    needs, or does not accept its options."""
    return [_family(name, config.options.get(options_key(name), {})) for name in config.scores]


def options_key(name: str) -> str:
    """Return the key of a family in `metrics.options`: its name, or the module of `module:function`."""
    return name.partition(":")[0]


def _family(name: str, given: dict[str, Any]) -> Family:
    module: ModuleType
    if ":" in name:
        module, function = registry.user_function(name, "metrics.scores")
        for attribute in ("NEEDS", "VERSION"):
            if not hasattr(module, attribute):
                raise ConfigError("metrics.scores", name, f"the module of a score family must state {attribute}")
    else:
        module = registry.load(registry.SCORES, name, "metrics.scores")
        function = module.score
    unknown = [need for need in module.NEEDS if need not in NEEDS]
    if unknown:
        raise ConfigError("metrics.scores", name, f"needs {unknown[0]!r}; a score family may need {', '.join(NEEDS)}")
    if "labels" in module.NEEDS and "features" not in module.NEEDS:
        raise ConfigError("metrics.scores", name, "needs labels, which are told from features: it must need both")
    if "training" in module.NEEDS and not {"features", "items"} & set(module.NEEDS):
        raise ConfigError("metrics.scores", name, "needs training: of features or of items, which it must need as well")
    if getattr(module, "COMPARISON", False) and tuple(module.NEEDS) != ("features",):
        raise ConfigError("metrics.scores", name, "is a COMPARISON, so it must need features and nothing else")
    path = f"metrics.options.{options_key(name)}"
    if not hasattr(module, "Config"):
        if given:
            raise ConfigError(path, given, "this score family has no options")
        return Family(name, module, function, None)
    return Family(name, module, function, registry.typed(module.Config, given, path))


def needs(config: MetricsConfig) -> set[str]:
    """Return the inputs that the families of `config.scores` need together."""
    return {need for family in families(config) for need in family.needs}


def kinds_of(module: ModuleType) -> tuple[str, ...]:
    """Return the kinds of items that the module of a family scores."""
    return getattr(module, "KINDS", tuple(KINDS))


def check_kind(config: MetricsConfig, kind: str) -> None:
    """Raise `ConfigError` if a family of `config.scores` does not score items of this kind."""
    for family in families(config):
        scored = kinds_of(family.module)
        if kind not in scored:
            raise ConfigError("metrics.scores", family.name, f"scores {', '.join(scored)}, but the data are {kind}")


def in_extra_spaces(config: MetricsConfig) -> list[MetricsConfig]:
    """Return the configuration of the scores in every extra feature space: the families that compare two sets of
    features.

    Raises:
        ConfigError: There are extra feature spaces, but no such family in `config.scores`.
    """
    compared = [family.name for family in families(config) if family.is_comparison]
    if config.extra_spaces and not compared:
        raise ConfigError(
            "metrics.extra_spaces", config.extra_spaces, f"none of {config.scores} compares two sets of features"
        )
    return [
        replace(
            config,
            feature_space=space,
            weights=config.extra_weights.get(space),
            scores=compared,
            references=["heldout"],
            extra_spaces=[],
            extra_weights={},
        )
        for space in config.extra_spaces
    ]


def score_spec(config: MetricsConfig) -> dict[str, Any]:
    """Return the part of the configuration that changes scores, except the feature space, for store keys."""
    about = {
        family.name: {
            "version": registry.version(family.module, "score"),
            "options": stage_values(family.options, "score", "score") if family.options else {},
        }
        for family in families(config)
    }
    common = {
        name: getattr(config, name) for name in ("num_images", "k", "references", "num_resamples", "num_resplits")
    }
    return {**common, "families": about, "schema": SCHEMA}


def score(
    features: tuple[np.ndarray, np.ndarray] | None,
    config: MetricsConfig,
    *,
    items: "tuple[Items, Items] | None" = None,
    subject: str = "samples",
    reference: str = "heldout",
    only: Callable[[Family], bool] | None = None,
    training: np.ndarray | None = None,
    training_items: "Items | None" = None,
    twin: tuple[np.ndarray, np.ndarray] | None = None,
    twin_items: "tuple[Items, Items] | None" = None,
    attributes: "Mapping[str, Attribute] | None" = None,
    judges: "Mapping[tuple[str, str], PairJudge] | None" = None,
    model: Risk | None = None,
    first_model: Risk | None = None,
    true_risk: TrueRisk | None = None,
    past: Past | None = None,
    known: "ReferenceStatistics | None" = None,
    device: "str | torch.device" = "cpu",
) -> list[dict[str, Any]]:
    """Compute the scores of one subject against one reference and return one row for each:

    {"metric": "precision", "feature_space": "efficientnet_lite0", "subject": "samples",
     "reference": "heldout", "num_subject": 1024, "num_reference": 1024, "parameters": {"k": 3},
     "value": 0.71, "direction": "up"}

    Some rows have more columns: `subset_sd` (KID), `image_sd` (with config.num_resamples), `dimension` (FID: d),
    `resplit_low`, `resplit_high` and `num_resplits` (the floor, from `with_resplits`), `num_training` (copying: number
    of training items compared with), `counts` and `refused` (`bench.metrics.tails`). The feature space of a family that
    needs no features is the first of its `NEEDS`, such as `items` or `model`.

    Args:
        features: float (N, d) of the subject and of the reference; None if no family needs them.
        config: Families, k, options.
        items: The two sets themselves, for families that need them.
        subject: Name of the first set in the rows.
        reference: Name of the second set in the rows.
        only: Which families of `config.scores` to compute; None: all.
        training: float (T, d), features of the training set of the subject's model. Families whose needs are not given
            are left out, as for the floor, which has no model.
        training_items: The items of the training set.
        twin: float (m, d) each, features of items that were trained on, and of the same number of items of the same
            pools that were not. Without it, the scores that need it are left out.
        twin_items: The items of both sides of the twin.
        attributes: Name -> attribute, from `fit_attributes`, for families that need labels.
        judges: Two attributes -> the judge that recognises pairs of classes that do not exist, from `fit_judge`.
        model: The risk of the subject's model.
        first_model: The risk of the model of generation 0.
        true_risk: The risk of the true distribution, if it is known and comparable.
        past: The outputs of the chain up to the generation of the subject.
        known: `reference_statistics` of the reference, if they are already computed.
        device: The device to compute on.

    Raises:
        MetricError: The two sides differ in N or width, have NaN features, or too few items for k; this is raised
            before anything is computed. Or a score is not a finite number, which a ledger cannot store.
    """
    from bench.metrics.shared.checks import check_k, check_pair

    chosen = [family for family in families(config) if only is None or only(family)]
    inputs = Inputs(
        features=features,
        items=items,
        attributes=attributes,
        judges=judges,
        training=training,
        training_items=training_items,
        twin=twin,
        twin_items=twin_items,
        model=model,
        first_model=first_model,
        true_risk=true_risk,
        past=past,
        k=config.k,
        known=known,
        device=device,
    )
    if features is not None:
        check_pair(*features)
        check_k(config.k, len(features[0]))
    n = len((features or items or ([],))[0])
    rows: list[dict[str, Any]] = []
    for family in (family for family in chosen if inputs.has(family.needs)):
        for value in family.function(inputs.only(family.needs), family.options):
            if not math.isfinite(value.value):
                about = "".join(f", {name} {given}" for name, given in value.parameters.items())
                raise MetricError(f"{value.metric}{about}: the score of {subject} against {reference} is {value.value}")
            rows.append(
                {
                    "metric": value.metric,
                    "feature_space": config.feature_space if "features" in family.needs else family.needs[0],
                    "subject": subject,
                    "reference": reference,
                    "num_subject": n,
                    "num_reference": n,
                    "parameters": value.parameters,
                    "value": float(value.value),
                    "direction": value.direction,
                    **value.extra,
                }
            )
    if features is not None and config.num_resamples:
        spread = _image_sd(inputs, chosen, config.num_resamples)
        rows = [row | ({"image_sd": spread[row["metric"]]} if row["metric"] in spread else {}) for row in rows]
    return rows


def score_with_controls(
    features: tuple[np.ndarray, np.ndarray] | None,
    config: MetricsConfig,
    floor: list[dict[str, Any]],
    *,
    others: Mapping[str, np.ndarray] = MappingProxyType({}),
    **given: Any,
) -> list[dict[str, Any]]:
    """Return the rows of a subject with all rows that it is compared with, in this order: its scores against the
    reference; its comparisons with the other references; the floor; and the comparisons of subject and reference
    shuffled together.

    Args:
        features: float (N, d) of the subject and of the reference; None if no family needs them.
        config: Families, references, k, options.
        floor: Rows of the scores of real items in place of the subject.
        others: Name -> float (M, d), features of other references. Only those that `config.references` names are used,
            with both sides cut to the smaller N.
        given: The other arguments of `score`.

    Raises:
        MetricError: As in `score`, and if the features of the reference are constant.
    """
    from bench.metrics.shared.checks import check_varied

    if features is not None:
        check_varied(features[1], given.get("reference", "heldout"))
    rows = score(features, config, **given)
    if features is None:
        return rows + floor
    if "fid" in {row["metric"] for row in rows}:
        warn_of_few(*features[0].shape, config.feature_space)
    device = given.get("device", "cpu")
    for name in (name for name in config.references if name in others):
        pair = same_size(features[0], others[name])
        about = {"subject": given.get("subject", "samples"), "reference": name}
        rows += score(pair, config, only=compares_features, device=device, **about)
    rows += floor
    about = {"subject": "shuffled", "reference": given.get("reference", "heldout")}
    return rows + score(shuffled(*features), config, only=compares_features, device=device, **about)


@functools.cache
def warn_of_few(n: int, dimension: int, space: str) -> None:
    """Warn, once for each combination of arguments, if FID is computed from fewer items than features."""
    if n < dimension:
        log.warning(
            "FID of N = %d items with d = %d features of %s: N/d = %.2f. Its bias depends on what is measured, and "
            "shrunken features may score better than real items; use more items, or KID",
            n, dimension, space, n / dimension,
        )  # fmt: skip


def compares_features(family: Family) -> bool:
    """Return whether a family only compares two sets of features."""
    return family.is_comparison


def same_size(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets, cut to the N of the smaller one."""
    n = min(len(a), len(b))
    return a[:n], b[:n]


def shuffled(subject: np.ndarray, reference: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the control: both sets pooled and redistributed at random, with the original sizes.

    These two sets have the same distribution, so their score shows the value for "no difference". A score that exceeds
    this value and the real-vs-real floor shows a difference between the sets.
    """
    from bench.metrics.shared.checks import canonical_order, check_pair

    check_pair(subject, reference)
    together = canonical_order(np.concatenate([subject, reference]))
    order = np.random.default_rng(seed).permutation(len(together))
    return together[order[: len(subject)]], together[order[len(subject) :]]


def with_resplits(
    rows: list[dict[str, Any]], real: np.ndarray, config: MetricsConfig, device: "str | torch.device" = "cpu"
) -> list[dict[str, Any]]:
    """Return the rows of a floor with the columns `resplit_low`, `resplit_high` and `num_resplits`: the 95 % interval
    over random splits of the real items into two sets of the floor's N (`resplit_intervals`). Families that compare two
    sets and nothing else have these columns.

    Args:
        rows: Rows of real items against real items.
        real: float (M, d), the features of all available real items, of both sides.
        config: Families, `num_resplits`, k, options.
        device: The device to compute on.
    """
    from bench.analysis.uncertainty import resplit_intervals
    from bench.metrics.shared.checks import canonical_order

    compared = [family for family in families(config) if family.is_comparison]
    if not (config.num_resplits and compared and rows):
        return rows

    def values(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        pair = Inputs((a, b), k=config.k, device=device)
        return {v.metric: v.value for family in compared for v in family.function(pair, family.options)}

    n = rows[0]["num_subject"]
    found = resplit_intervals(values, canonical_order(real), n, config.num_resplits)
    added = {
        metric: {"resplit_low": low, "resplit_high": high, "num_resplits": config.num_resplits}
        for metric, (low, high) in found.items()
    }
    return [row | added.get(row["metric"], {}) for row in rows]


def _image_sd(inputs: Inputs, chosen: Collection[Family], num_resamples: int) -> dict[str, float]:
    """Return the standard deviation over the choice of items, for every score that only needs two sets of features and
    has no standard deviation of its own."""
    from bench.analysis.uncertainty import resample_images

    counted = [f for f in chosen if f.needs == ("features",) and not getattr(f.module, "OWN_SPREAD", False)]

    def values(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        half = Inputs((a, b), k=inputs.k, device=inputs.device)
        return {v.metric: v.value for family in counted for v in family.function(half, family.options)}

    return resample_images(values, inputs.subject, inputs.reference, num_resamples)
