"""Origins: how many training items of each generation are real, and how many each earlier generation generated."""

from dataclasses import dataclass

from bench.analysis.conditions import Condition
from bench.analysis.study import Study
from bench.kinds import Kind


@dataclass(frozen=True)
class Origins:
    """The numbers of training items by generation of birth.

    births: generations of birth, ascending; -1 stands for real items.
    counts: condition -> generation -> one number of items per birth, for the condition's longest chain.
    kind: the kind of the items.
    """

    births: list[int]
    counts: dict[Condition, dict[int, list[int]]]
    kind: Kind

    @property
    def labels(self) -> list[str]:
        return [f"real {self.kind.items}" if birth < 0 else f"samples of generation {birth}" for birth in self.births]


def origins(study: Study) -> Origins:
    """Count the training items of every generation by their generation of birth."""
    births = sorted({int(birth) for row in study.rows for birth in row.composition["per_generation"]})
    counts = {}
    for condition in study.conditions:
        rows = study.longest(condition).rows
        counts[condition] = {
            row.generation: [row.composition["per_generation"].get(str(birth), 0) for birth in births] for row in rows
        }
    return Origins(births, counts, study.kind)
