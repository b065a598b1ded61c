"""Feature spaces: from items to float32 features. One file per space.

A space offers `identity(weights)`, which is fast and returns JSON-compatible values; `prefetch(weights)`, which
downloads missing weights and returns their path; `load(weights)`, which returns the network; `VERSION`, `CITATION`, and
`KINDS` if it describes other items than images. Importing its module does not import torch. A space of your own is
`metrics.feature_space=my_module:make_extractor` (`shared/user_space.py`, docs/extending/).
"""
