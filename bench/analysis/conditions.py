"""Conditions: one mixing policy with its parameters, whose chains are its seeds."""

import json
from dataclasses import dataclass
from typing import Any

from bench.ledger import Row

SHORT_NAMES = {"synthetic_ratio": "r", "synthetic_per_real": "λ", "num_generations": "last", "real_part": "real"}


@dataclass(frozen=True)
class Condition:
    """One mixing policy with its parameters.

    policy: name of the mixing policy.
    label: how tables and figures name the condition.
    ratio: the synthetic share of the training set from generation 1 on, where it is one number; else None.
    parameters: the parameters of the policy, as JSON with sorted keys.
    """

    policy: str
    label: str
    ratio: float | None
    parameters: str

    @property
    def family(self) -> tuple[str, str]:
        """The policy and its parameters without the ratio."""
        others = {k: v for k, v in json.loads(self.parameters).items() if k != "synthetic_ratio"}
        return self.policy, json.dumps(others)


def condition_of(row: Row) -> Condition:
    """Return the condition that the row's chain follows."""
    given = row.config.get("mixing", {})
    parameters = {name: value for name, value in given.items() if name != "policy" and value is not None}
    ratio = 1.0 if row.policy == "replace" else parameters.get("synthetic_ratio")
    if not isinstance(ratio, int | float):
        ratio = None
    if row.policy == "blend" and ratio is not None and parameters.get("real_part", "redrawn") == "redrawn":
        label = f"{ratio:.2f}"
    else:
        details = ", ".join(f"{_short(name)} {_text(value)}" for name, value in parameters.items())
        label = row.policy.replace("_", " ") + (f" ({details})" if details else "")
    return Condition(row.policy, label, ratio, json.dumps(parameters, sort_keys=True))


def _short(name: str) -> str:
    return SHORT_NAMES.get(name, name.replace("_", " "))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
