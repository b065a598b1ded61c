"""Whether samples carry the watermark of their own generation, and still that of earlier ones: radioactivity.

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
    """false_positive_rate: of real items, for the threshold of `mark_rate`."""

    false_positive_rate: float = option(0.01, above=0, at_most=0.5)


def score(inputs: Inputs, config: Config) -> Iterator[Value]:
    """Yield for the mark of every generation up to the subject's: `mark_rate`, the share of samples whose score is
    above a threshold that another held-out item exceeds with a probability of at most the false-positive rate, and
    `mark_auroc`, of the scores of samples against those of held-out items."""
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
