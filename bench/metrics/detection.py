"""How well samples can be told from real items, by detectors of every generation: whether detectors grow obsolete."""

from collections.abc import Iterator

import numpy as np

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features", "past")
VERSION = 1
METRICS = ("detector_auroc",)
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `detector_auroc` of logistic regressions on features: those of each generation so far on the subject's
    samples, and that of the subject on the samples of each generation before it.

    A detector of generation i is trained on the first half of the held-out items and of that generation's samples, and
    tested on the second half of the held-out items and of the samples it is tested on: 1/2 where nothing can be told.
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
