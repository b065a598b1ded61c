"""Feature spaces: from items to float32 features. One file per space.

A space offers `identity(weights)`, cheap and JSON-able; `prefetch(weights)`, which downloads what is missing and
returns the path; `load(weights)`, the network; `VERSION`, `CITATION`, and `KINDS` where it describes other items than
images. Its module is a network and imports torch: it is loaded when features are due. A space of your own is
`metrics.feature_space=my_module:make_extractor` (`shared/custom.py`, docs/extending.md).
"""
