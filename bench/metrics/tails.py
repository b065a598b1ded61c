"""Which labelled classes are still made, whether the rare ones go first, and, where the data set says which pairs of
classes exist, how many samples show another."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.metrics.shared.inputs import Inputs, Value

if TYPE_CHECKING:
    from bench.metrics.shared.class_survival import Tails
    from bench.metrics.shared.classifier import Attribute

NEEDS = ("features", "labels")
VERSION = 5
LIPTON = """@inproceedings{lipton2018detecting,
  title     = {Detecting and Correcting for Label Shift with Black Box Predictors},
  author    = {Lipton, Zachary C. and Wang, Yu-Xiang and Smola, Alexander J.},
  booktitle = {International Conference on Machine Learning},
  year      = {2018},
}"""
CITATION = {"class_survival": LIPTON, "class_divergence": LIPTON}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield the survival of classes, of rare and of common ones, for every labelled attribute.

    `class_divergence` has the columns `counts`, class -> [samples, expected, low, high], and `refused`, score -> why
    it is not there.
    """
    from bench.metrics.shared.class_survival import tail_scores

    for name, attribute in (inputs.attributes or {}).items():
        about = {"attribute": name}
        result = tail_scores(attribute.predict(inputs.subject), attribute)
        survivals = {
            "class_survival": result.survival,
            "tail_survival": result.tail_survival,
            "head_survival": result.head_survival,
        }
        refused = [metric for metric, value in survivals.items() if value is None]
        for metric, value in survivals.items():
            if value is not None:
                yield Value(metric, value, "up", about)
        columns = zip(result.counts, result.expected, result.low, result.high, strict=True)
        counts = [[round(float(v), 3) for v in column] for column in columns]
        reason = _reason(result, attribute, len(inputs.subject))
        extra = {
            "counts": dict(zip(attribute.class_names, counts, strict=True)),
            "refused": dict.fromkeys(refused, reason),
        }
        yield Value("class_divergence", result.divergence, "down", about, extra)
        yield Value("classifier_accuracy", attribute.accuracy, "up", about)
    yield from _hallucinations(inputs)


def _hallucinations(inputs: Inputs) -> Iterator[Value]:
    """Yield `hallucination_rate`, with its interval and the rates that it is made from, for every pair of attributes of
    which it is known what goes together."""
    from bench.metrics.shared.hallucination import hallucination_rate

    attributes = inputs.attributes or {}
    for (a, b), possible in (inputs.possible or {}).items():
        if {a, b} <= attributes.keys():
            found = vars(hallucination_rate(inputs.subject, attributes[a], attributes[b], possible)).copy()
            yield Value("hallucination_rate", found.pop("rate"), "down", {"attribute": f"{a} and {b}"}, found)


def _reason(result: "Tails", attribute: "Attribute", n: int) -> str:
    """Return why survival cannot be told, with the classes that are in the way."""
    names = [attribute.class_names[c] for c in result.untold]
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"with {n} samples and a classifier of accuracy {attribute.accuracy:.2f} a dead class could not be told "
        f"from a live one: {listed}"
    )
