"""Conditions: a mixing policy, selection, vetting, watermark and remedy with their parameters; one chain per seed."""

import hashlib
import json
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from bench import registry
from bench.analysis.plain_text import plain
from bench.analysis.publishable import without_folders
from bench.flatten import flatten
from bench.ledger import Row
from bench.options import default_of, fields_by_name

RULES = ("selection", "vetting", "watermark", "remedy")
NOT_FREE = ("seed.", "mixing.", "data.", *(f"{rule}." for rule in RULES))
SHORT_NAMES = {"synthetic_ratio": "r", "synthetic_per_real": "λ", "num_generations": "last", "real_part": "real"}
SHORT_NAMES |= {"true_positive_rate": "TPR", "false_positive_rate": "FPR"}


@dataclass(frozen=True)
class Condition:
    """One mixing policy with its parameters, and the rules for selection, vetting, watermark and remedy if it has any.

    policy: name of the mixing policy.
    label: the name of the condition in tables and figures; shorter in a study whose conditions have much in common.
    ratio: the synthetic share of the training set from generation 1 on if it is one number; else None.
    parameters: JSON with sorted keys, of the policy's parameters and the values of other keys that the protocol leaves
        free. The parameters of the rules are below `selection`, `vetting`, …. What a newcomer found is below `joined`:
        the condition and generation after which it began, and the share of its real pool that is samples.
    """

    policy: str
    label: str = field(compare=False)
    ratio: float | None
    parameters: str

    @property
    def is_plain(self) -> bool:
        """Whether no selection, vetting, watermark, remedy or earlier chain changes the loop."""
        return not {*RULES, "joined"} & json.loads(self.parameters).keys()

    def changes_generation_0(self, first: Row) -> bool:
        """Whether a rule changes what generation 0 trains on or which samples it has. Vetting does only if it dropped
        items there, as an oracle with false positives does; `first` is a row of generation 0 that tells."""
        others = {*RULES, "joined"} - {"vetting"} & json.loads(self.parameters).keys()
        return bool(others) or bool(first.vetting.get("num_real_dropped"))

    @property
    def joined(self) -> dict[str, Any]:
        """What a newcomer found (see `parameters`); empty for a chain that began with real items alone."""
        return dict(json.loads(self.parameters).get("joined", {}))

    @property
    def family(self) -> tuple[str, str]:
        """The policy and its parameters without the ratio."""
        others = {k: v for k, v in json.loads(self.parameters).items() if k != "synthetic_ratio"}
        return self.policy, json.dumps(others)


def free_keys(row: Row) -> list[str]:
    """Return the keys that the row's protocol leaves free, such as a sampling temperature, except those of seed,
    mixing, data and rules. Their values distinguish conditions within one study."""
    free = row.config.get("protocol", {}).get("free", {})
    return sorted(key for key in free if not f"{key}.".startswith(NOT_FREE))


def condition_of(row: Row, shown_free: Container[str] | None = None) -> Condition:
    """Return the condition that the row's chain follows.

    Args:
        row: any row of the chain.
        shown_free: the keys that the label names among those that the protocol leaves free; None: all of them.
    """
    given = row.config.get("mixing", {})
    parameters = {name: value for name, value in given.items() if name != "policy" and value is not None}
    ratio = 1.0 if row.policy == "replace" else parameters.get("synthetic_ratio")
    if not isinstance(ratio, int | float) or row.policy == "real_only":  # whose r is the share left out
        ratio = None
    if row.policy == "blend" and ratio is not None and parameters.get("real_part", "redrawn") == "redrawn":
        label = f"{ratio:.2f}"
    else:
        name = f"custom {parameters['function']}" if "function" in parameters else row.policy.replace("_", " ")
        shown = {k: v for k, v in parameters.items() if (row.policy, k, v) != ("real_only", "real_part", "redrawn")}
        label = name + details(shown)
    mixing = label
    for group in RULES:
        rule = {k: v for k, v in row.config.get(group, {}).items() if v not in (None, {}, "none") and v is not False}
        if rule:
            parameters[group] = rule
            label += f" + {group} {rule.get('function', rule['name'])}{details(_chosen(group, row.config[group]))}"
    if row.joined:
        found = {key: row.joined[key] for key in ("condition", "generation", "ratio")}
        found |= {"samples_of": "all"} if row.config["join"]["samples_of"] == "all" else {}
        parameters["joined"] = found
        whose = "" if found["condition"] == mixing else f" {found['condition']}"
        label += f" + joined{whose} after generation {found['generation']}"
        label += details({k: found[k] for k in ("ratio", "samples_of") if k in found})
    if row.protocol.get("name"):
        given = flatten(row.config)
        free = {key: given.get(key) for key in free_keys(row)}
        parameters |= free
        named = {key: value for key, value in free.items() if shown_free is None or key in shown_free}
        label += "".join(f", {key.rpartition('.')[2].replace('_', ' ')} {_text(value)}" for key, value in named.items())
    return Condition(row.policy, plain(_without_folders(label)), ratio, json.dumps(parameters, sort_keys=True))


def _without_folders(label: str) -> str:
    """Return a label with its paths cut to their last part, and then with a hash that distinguishes files of one
    name."""
    cut = without_folders(label)
    return label if cut == label else f"{cut} {hashlib.sha256(label.encode(errors='surrogatepass')).hexdigest()[:6]}"


def _chosen(group: str, rule: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a rule that differ from the defaults of its component, which labels do not show."""
    schema = registry.schema(group, rule["name"])
    defaults = {name: default_of(field) for name, field in fields_by_name(schema).items()} if schema else {}
    return {name: value for name, value in rule.items() if name not in defaults or value != defaults[name]}


def details(parameters: dict[str, Any]) -> str:
    """Return parameters as a label shows them, in brackets, without the keys that name the rule itself."""
    shown = {**parameters, **parameters.get("parameters", {})}
    names = [name for name in shown if name not in ("name", "function", "parameters")]
    details = ", ".join(f"{short_name(name)} {_text(shown[name])}" for name in names)
    return f" ({details})" if details else ""


def short_name(name: str) -> str:
    """Return the name of an option in labels, e.g. `TPR` for `true_positive_rate`."""
    return SHORT_NAMES.get(name, name.replace("_", " "))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
