"""Watermarks in samples: whether samples carry the watermark of their own generation, and still those of earlier
generations (radioactivity).

Sablayrolles et al. (2002.00937) call marked data radioactive if models that are trained on them show the mark.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.detection import auroc, threshold_at
from bench.metrics.shared.inputs import Inputs, Value
from bench.options import option

NEEDS = ("items", "past")
KINDS = ("images",)
VERSION = 1
METRICS = ("mark_rate", "mark_auroc")
CITATION = {
    "mark_rate": """@inproceedings{sablayrolles2020radioactive,
  title     = {Radioactive Data: Tracing through Training},
  author    = {Sablayrolles, Alexandre and Douze, Matthijs and Schmid, Cordelia and J{\\'e}gou, Herv{\\'e}},
  booktitle = {International Conference on Machine Learning},
  year      = {2020},
}""",
}


@dataclass
class Config:
    """false_positive_rate: the largest false-positive rate on real items, which sets the threshold of `mark_rate`."""

    false_positive_rate: float = option(0.01, above=0, at_most=0.5)


def score(inputs: Inputs, config: Config) -> Iterator[Value]:
    """Yield two scores for the mark of every generation up to that of the subject: `mark_rate`, the share of samples
    whose mark is above a threshold that another held-out item exceeds with a probability of at most the false-positive
    rate, and `mark_auroc`, the AUROC of the marks of samples against those of held-out items."""
    assert inputs.items is not None and inputs.past is not None and inputs.past.marks is not None
    samples, _ = inputs.items
    for generation, real in enumerate(inputs.past.heldout_marks):
        own = inputs.past.marks(generation, samples)
        above = float((own > threshold_at(real, config.false_positive_rate)).mean())
        rate = {"mark_of": generation, "false_positive_rate": config.false_positive_rate}
        yield Value("mark_rate", above, "none", rate)
        value = auroc(real, own)
        assert value is not None
        yield Value("mark_auroc", value, "none", {"mark_of": generation})
