"""Which labelled classes are still made, and whether the rare ones go first."""

from collections.abc import Iterator

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features", "labels")
VERSION = 4
CITATION: dict[str, str] = {}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield the survival of classes, of rare and of common ones, for every labelled attribute."""
    from bench.metrics.shared.class_survival import tail_scores

    for name, attribute in (inputs.attributes or {}).items():
        about = {"attribute": name}
        result = tail_scores(attribute.classifier.predict(inputs.subject), attribute.classifier)
        counts = {
            class_name: [int(count), round(float(expected), 3)]
            for class_name, count, expected in zip(attribute.class_names, result.counts, result.expected, strict=True)
        }
        yield Value("class_survival", result.survival, "up", about, {"counts": counts})
        yield Value("tail_survival", result.tail_survival, "up", about)
        yield Value("head_survival", result.head_survival, "up", about)
        yield Value("class_divergence", result.divergence, "down", about)
        yield Value("classifier_accuracy", attribute.classifier.accuracy, "up", about)
