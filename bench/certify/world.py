"""What the worlds of the certificate, modules in the form of a user's own, have in common."""

from dataclasses import dataclass


@dataclass
class Config:
    """Of the data set and of the generator alike, which is why it has the fields of both."""

    name: str = ""
    resolution: int = 8
    num_train: int | None = None
    num_heldout: int = 2
    split_seed: int = 0

    @property
    def num_items(self) -> int:
        """How many items the data set has to draw."""
        return self.num_heldout + (self.num_train or 0)
