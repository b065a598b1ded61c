"""Feature spaces map items to float32 features. One file per space.

A space offers `identity(weights)`, which is fast and returns JSON-compatible values; `prefetch(weights)`, which
downloads missing weights and returns their path, or None for a space without weights; `load(weights)`, which returns
the network; `VERSION`, `CITATION`, and `KINDS` if it describes items other than images. Importing its module must not
import torch. A user-defined space is `metrics.feature_space=my_module:make_extractor` (`shared/user_space.py`,
docs/extending/).
"""
