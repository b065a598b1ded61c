"""The unseen twin of a composition: items of the same pools that the generation did not train on.

Samples are compared with training items and with their twin, equally many of every pool on both sides. A mixing policy
sees no items, so which items of a pool it draws says nothing about them: while no model copies, samples are as near to
the one side as to the other, however far the pools have drifted from real items.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bench.composition import Composition, Part, PoolRef
from bench.errors import DataError


@dataclass(frozen=True, eq=False)
class Twin:
    """Both sides of the comparison, with equally many different items of every pool; held-out items stand for the real
    pool and the reserve.

    trained_on: items that the generation trained on, all of them where there are enough others. unseen: the others.
    """

    trained_on: Composition
    unseen: Composition

    def __len__(self) -> int:
        return len(self.unseen)

    @property
    def id(self) -> str:
        """Content hash of both sides."""
        return f"{self.trained_on.id}/{self.unseen.id}"


def unseen_twin(composition: Composition, heldout: PoolRef) -> Twin:
    """Return the twin of a composition. Where a pool has fewer unused items than were trained on, both sides shrink to
    the share that it has, of all pools alike.

    Both sides are drawn with the generator `default_rng(0)`: real items first, then the samples of each generation;
    of each, the first m of a permutation of the items trained on, in order of pool and row, and the first m of a
    permutation of the others.

    Raises `DataError`, with the reason, where a pool has no unused items or too few remain.
    """
    real = [part for part in composition.parts if not part.pool.is_synthetic]
    groups = [([Part(part.pool, np.unique(part.rows)) for part in real], Part(heldout, np.arange(heldout.num_items)))]
    for part in (part for part in composition.parts if part.pool.is_synthetic):
        rows = np.unique(part.rows)
        groups.append(([Part(part.pool, rows)], Part(part.pool, np.setdiff1d(np.arange(part.pool.num_items), rows))))
    groups = groups if real else groups[1:]
    shares = [Fraction(len(unused.rows), sum(len(part.rows) for part in used)) for used, unused in groups]
    share = min(Fraction(1), *shares)
    trained_on: list[Part] = []
    unseen: list[Part] = []
    rng = np.random.default_rng(0)
    for used, unused in groups:
        num_used = sum(len(part.rows) for part in used)
        size = int(share * num_used)
        chosen = np.zeros(num_used, bool)
        chosen[rng.permutation(num_used)[:size]] = True
        masks = np.split(chosen, np.cumsum([len(part.rows) for part in used])[:-1])
        trained_on += [Part(part.pool, part.rows[mask]) for part, mask in zip(used, masks, strict=True)]
        unseen.append(Part(unused.pool, unused.rows[rng.permutation(len(unused.rows))[:size]]))
    if sum(len(part.rows) for part in unseen) < 2:
        used, unused = groups[shares.index(min(shares))]
        name = f"samples of generation {used[0].pool.generation}" if used[0].pool.is_synthetic else "held-out items"
        raise DataError(
            f"of the {name}, {len(unused.rows)} were not trained on and {sum(len(part.rows) for part in used)} "
            "are to be matched: raise num_samples or data.num_heldout"
        )
    return Twin(Composition(tuple(trained_on)), Composition(tuple(unseen)))
