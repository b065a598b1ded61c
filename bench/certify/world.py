"""The configuration that the worlds of the certificate share. A world is a module in the form of a user-defined one."""

from dataclasses import dataclass


@dataclass
class Config:
    """The configuration of a world's data set and of its generator, so it has the fields of both."""

    name: str = ""
    resolution: int = 8
    num_train: int | None = None
    num_heldout: int = 2
    split_seed: int = 0

    @property
    def num_items(self) -> int:
        """Return the number of items that the data set has to draw."""
        return self.num_heldout + (self.num_train or 0)
