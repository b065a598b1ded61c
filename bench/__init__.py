"""The reference benchmark for diffusion-model collapse: train, sample, mix, retrain, score.

    import bench
    config = bench.compose(["experiment=quick", "num_generations=3"])   # the overrides of a command line
    chain = bench.run(config)                                           # its ledger; runs, resumes or only reads
    frame = bench.load("outputs/quick")                                 # a pandas DataFrame, one line per score
    bench.Report("outputs/quick")                                       # tables, verdicts, figures, page
    bench.samples(chain, generation=2)                                  # its probes: a picture, or a list of texts
    bench.score(real, fake)                                             # every score of two sets of images

Nothing is imported before it is used (PEP 562), so that `import bench` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.notebook import Report as Report
    from bench.notebook import compose as compose
    from bench.notebook import load as load
    from bench.notebook import run as run
    from bench.notebook import samples as samples
    from bench.score_sets import score as score

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        """Import the attribute that is asked for. Type checkers must not see this function, because they would then
        accept any misspelt name."""
        if name == "score":
            return importlib.import_module("bench.score")  # a module that can be called
        if name == "__version__":
            from bench.analysis.provenance import package_version

            return package_version()
        if name in __all__:
            return getattr(importlib.import_module("bench.notebook"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Return the public names, for completion in a notebook."""
        return sorted({*globals(), *__all__})


__all__ = ["Report", "__version__", "compose", "load", "run", "samples", "score"]
