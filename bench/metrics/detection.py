"""Detectability of samples: how well detectors of every generation distinguish them from real items, and whether
detectors become obsolete."""

from collections.abc import Iterator

import numpy as np

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features", "past")
VERSION = 1
METRICS = ("detector_auroc",)
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `detector_auroc` of logistic regressions on features: the detector of each generation so far on the samples
    of the subject, and the detector of the subject on the samples of each earlier generation.

    The detector of generation i is trained on the first half of the held-out items and of the samples of generation i.
    It is tested on the second half of the held-out items and of the samples that it is tested on. A value of 1/2 means
    that they cannot be distinguished.
    """
    from bench.detection import auroc
    from bench.metrics.shared.classifier import fit_classifier

    assert inputs.past is not None
    samples = [*inputs.past.features, inputs.subject]
    half = len(inputs.reference) // 2
    known, fresh = inputs.reference[:half], inputs.reference[half:]
    last = len(samples) - 1
    for trained_on, generated in enumerate(samples):
        both = np.concatenate([known, generated[:half]])
        detector = fit_classifier(both, np.repeat([0, 1], [half, len(both) - half]), 2, inputs.device)
        negatives = detector.log_odds(fresh)
        for tested_on in range(last + 1) if trained_on == last else (last,):
            value = auroc(negatives, detector.log_odds(samples[tested_on][half:]))
            assert value is not None
            yield Value("detector_auroc", value, "none", {"trained_on": trained_on, "tested_on": tested_on})
