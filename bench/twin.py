"""The unseen twin of a composition: items of the same pools that the generation did not train on.

Samples are compared with training items and with their twin, with equally many items from every pool on both sides. A
mixing policy sees no items, so its draws from a pool do not depend on the items. Therefore, as long as no model copies,
samples are as near to one side as to the other, however far the pools have drifted from real items.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bench.composition import Composition, Part, PoolRef
from bench.errors import DataError


@dataclass(frozen=True, eq=False)
class Twin:
    """Both sides of the comparison, with equally many different items from every pool. On the unseen side, held-out
    items represent the real pool and the reserve.

    trained_on: Items that the generation trained on: all of them, if there are enough unseen ones. unseen: Items that
    it did not train on.
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
    """Return the twin of a composition. If a pool has fewer unused items than were trained on, both sides are reduced
    to the share that it can provide, for all pools alike.

    Both sides are drawn with the generator `default_rng(0)`: first for the real items, then for the samples of each
    generation. For each of these, it draws the first m of a permutation of the items trained on, in order of pool and
    row, and the first m of a permutation of the unused items.

    Raises `DataError`, with the reason, if fewer than 2 items are left on each side.
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
