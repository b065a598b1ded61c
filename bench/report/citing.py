"""BibTeX for everything that a report uses: the benchmark, data sets, scores, generators and published loops.

The entries are the `CITATION` of the components; user-defined components are not cited.
"""

from collections.abc import Iterator

from bench import registry
from bench.analysis.provenance import package_version
from bench.analysis.study import Study
from bench.ledger import Row


def bibtex(studies: list[Study]) -> str:
    """Return one entry for the benchmark, then one for every cited component that the rows name, without repetition."""
    cited = {entry for study in studies for row in study.rows for part in _parts(row) for entry in part.split("\n\n")}
    ours = f"""@software{{diffusion_collapse_bench,
  title   = {{diffusion-collapse-bench: the reference benchmark for diffusion-model collapse}},
  author  = {{{{The diffusion-collapse-bench authors}}}},
  version = {{{package_version()}}},
}}"""
    return "\n\n".join([ours, *sorted(cited - {""}, key=lambda entry: entry.partition("{")[2])]) + "\n"


def _parts(row: Row) -> Iterator[str]:
    """Yield the BibTeX of every component that a row was computed with; "" for components without any."""
    for group, room in registry.ROOMS.items():
        config = row.config.get(group, {})
        yield registry.citation(room.package, config.get(room.discriminator, ""), config)
    by_metric = registry.metric_citations()
    for score in row.scores:
        yield by_metric.get(score["metric"], "")
        yield registry.citation(registry.FEATURES, score["feature_space"], {})
