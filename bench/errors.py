"""Exception types for every error that a user can cause.

A message names the offending value and what is allowed. `assert` is reserved for what the code itself guarantees.
"""

from collections.abc import Iterable
from typing import Any


class BenchError(Exception):
    """Base of all errors that this project raises on purpose."""


class ConfigError(BenchError, ValueError):
    """A configuration value is unknown, of the wrong type, or out of range. Raised before training starts."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}={value!r}: {allowed}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the three arguments. By default, an exception is rebuilt from its message alone, which fails
        for this class."""
        return type(self), (self.key, self.value, self.allowed), self.__dict__


class ConfigErrors(ConfigError):
    """Several wrong values at once. The message has a line for each; key, value and allowed are those of the first."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.key, first.value, first.allowed)
        self.args = ("\n".join(map(str, self.errors)),)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,), self.__dict__


def raise_all(errors: Iterable[ConfigError]) -> None:
    """Raise one error that holds every different error of `errors`. Do nothing if there are none."""
    flat = [one for error in errors for one in (error.errors if isinstance(error, ConfigErrors) else (error,))]
    different = list({str(error): error for error in flat}.values())
    if len(different) == 1:
        raise different[0]
    if different:
        raise ConfigErrors(different)


class DataError(BenchError, ValueError):
    """A data set is missing, unreadable, of the wrong shape or dtype, or too small for its use."""


class ReserveError(DataError):
    """A policy asks for more fresh real items than the data set keeps in reserve."""


class MetricError(BenchError, ValueError):
    """A score cannot be computed from these inputs (NaN features, too few images, mismatched widths, ...)."""


class TrainingError(BenchError, RuntimeError):
    """Training stopped by itself. On a NaN loss, the message names the step and the last good checkpoint."""


class SamplingError(BenchError, RuntimeError):
    """A model cannot be sampled: its weights, or what it draws, are not finite numbers. The message names the
    model."""


class StoreError(BenchError, RuntimeError):
    """The store cannot be read or written, or a stored result does not match its checksum."""


class ProcessError(BenchError, RuntimeError):
    """One of the processes that run a chain together has failed. It is raised in all of them, and the message names the
    failed process and its error."""


class LedgerError(BenchError, ValueError):
    """A ledger is missing, empty, or has a line that is not a row of this schema."""
