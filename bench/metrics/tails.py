"""Class scores: which labelled classes the model still generates, whether the rare ones disappear first, how well the
classes can be distinguished, and, if the data set offers calibration items, how many samples show a pair of classes
that does not exist."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.metrics.shared.inputs import Inputs, Value

if TYPE_CHECKING:
    from bench.metrics.shared.class_survival import Tails
    from bench.metrics.shared.classifier import Attribute
    from bench.metrics.shared.hallucination import PairJudge

NEEDS = ("features", "labels")
VERSION = 6
METRICS = (
    "class_survival",
    "tail_survival",
    "head_survival",
    "class_divergence",
    "classifier_accuracy",
    "class_margin",
    "hallucination_rate",
    "hallucination_sensitivity",
)
LIPTON = """@inproceedings{lipton2018detecting,
  title     = {Detecting and Correcting for Label Shift with Black Box Predictors},
  author    = {Lipton, Zachary C. and Wang, Yu-Xiang and Smola, Alexander J.},
  booktitle = {International Conference on Machine Learning},
  year      = {2018},
}"""
ROGAN = """@article{rogan1978estimating,
  title   = {Estimating Prevalence from the Results of a Screening Test},
  author  = {Rogan, Walter J. and Gladen, Beth},
  journal = {American Journal of Epidemiology},
  volume  = {107},
  number  = {1},
  pages   = {71--76},
  year    = {1978},
}"""
CITATION = {"class_survival": LIPTON, "class_divergence": LIPTON, "hallucination_rate": ROGAN}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield the survival of all, of rare and of common classes for every labelled attribute, and `class_margin`: the
    mean over items of the difference between the probabilities of the two likeliest classes, which falls if items lie
    between classes.

    `class_divergence` has the columns `counts`, class -> [samples, expected, low, high], and `refused`, score -> the
    reason why it is missing.
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
        yield Value("class_margin", float(attribute.margin(inputs.subject).mean()), "up", about)
    yield from _hallucinations(inputs)


def _hallucinations(inputs: Inputs) -> Iterator[Value]:
    """Yield `hallucination_rate`, unless it is refused, and `hallucination_sensitivity`, the share of impossible items
    that the judge recognises, for every pair of attributes that has a judge. The column `refused` of the latter
    contains the reason if the rate is missing."""
    from bench.metrics.shared.hallucination import hallucination_rate

    for names, judge in (inputs.judges or {}).items():
        about, found = {"attribute": " and ".join(names)}, hallucination_rate(inputs.subject, judge)
        refused = {} if found.rate is not None else {"hallucination_rate": _cannot_tell(judge, len(inputs.subject))}
        if found.rate is not None:
            columns = {name: value for name, value in vars(found).items() if name != "rate"}
            yield Value("hallucination_rate", found.rate, "down", about, columns)
        extra = {"num_impossible": judge.num_impossible, "refused": refused}
        yield Value("hallucination_sensitivity", found.sensitivity, "up", about, extra)


def _cannot_tell(judge: "PairJudge", n: int) -> str:
    """Return why the rate of hallucinations cannot be determined."""
    from bench.metrics.shared.hallucination import POWER, TELLABLE

    return (
        f"with {n} samples and classifiers that recognise {judge.sensitivity:.0%} of impossible items and suspect "
        f"{judge.false_positive_rate:.0%} of real ones, a share of {TELLABLE:.0%} of impossible samples would be "
        f"detected in fewer than {POWER:.0%} of cases"
    )


def _reason(result: "Tails", attribute: "Attribute", n: int) -> str:
    """Return why survival cannot be determined, with the classes that prevent it."""
    names = [attribute.class_names[c] for c in result.untold]
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"with {n} samples and a classifier of accuracy {attribute.accuracy:.2f} a dead class could not be "
        f"distinguished from a live one: {listed}"
    )
