"""Ratios that are one number for all generations, or a list with one number per generation."""

from dataclasses import dataclass
from typing import Any

from bench.config import MixingConfig
from bench.errors import ConfigError

Ratio = float | list[float]
"""One number for all generations, or one number per generation from generation 1 on."""


def checked_ratio(key: str, value: Any, high: float = 1.0) -> Ratio:
    """Return a ratio as floats. Raises `ConfigError` if the value is neither a number nor a list of numbers, or if a
    number is outside [0, high]. key: The key of the value, for the message."""
    numbers = value if isinstance(value, list) else [value]
    if not numbers or any(isinstance(x, bool) or not isinstance(x, int | float) for x in numbers):
        raise ConfigError(key, value, "must be a number, or a list of numbers, one per generation from 1 on")
    for number in numbers:
        if not 0.0 <= number <= high:
            raise ConfigError(key, value, f"must lie in [0, {high:g}]")
    return [float(x) for x in numbers] if isinstance(value, list) else float(value)


def at(ratio: Ratio, generation: int) -> float:
    """Return the ratio of a generation; the first entry of a list is that of generation 1."""
    return ratio[generation - 1] if isinstance(ratio, list) else ratio


@dataclass
class RatioConfig(MixingConfig):
    """The settings that all policies with a synthetic ratio share."""

    synthetic_ratio: Any = 0.5

    def validate(self) -> None:
        self.synthetic_ratio = checked_ratio("synthetic_ratio", self.synthetic_ratio)
