"""Conditions: a mixing policy, selection, vetting and remedy with their parameters, whose chains are its seeds."""

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
    """One mixing policy with its parameters, and the selection and vetting rule where there is one.

    policy: name of the mixing policy.
    label: how tables and figures name the condition; it is shorter in a study whose conditions have much in common.
    ratio: the synthetic share of the training set from generation 1 on, where it is one number; else None.
    parameters: the parameters of the policy, below `selection`, `vetting`, … those of the rules, and the values of what
        else the protocol leaves free, as JSON with sorted keys; below `joined` what a newcomer found: after which
        generation of which condition it began, and the share of its real pool that is samples.
    """

    policy: str
    label: str = field(compare=False)
    ratio: float | None
    parameters: str

    @property
    def is_plain(self) -> bool:
        """Whether no selection, vetting, watermark, remedy or earlier chain changes the loop."""
        return not {*RULES, "joined"} & json.loads(self.parameters).keys()

    @property
    def joined(self) -> dict[str, Any]:
        """What a newcomer found (below `parameters`); empty for a chain that began with real items alone."""
        return dict(json.loads(self.parameters).get("joined", {}))

    @property
    def family(self) -> tuple[str, str]:
        """The policy and its parameters without the ratio."""
        others = {k: v for k, v in json.loads(self.parameters).items() if k != "synthetic_ratio"}
        return self.policy, json.dumps(others)


def free_keys(row: Row) -> list[str]:
    """Return the keys outside seed, data and rules that the row's protocol leaves free, such as a sampling temperature:
    their values set conditions of one study apart."""
    free = row.config.get("protocol", {}).get("free", {})
    return sorted(key for key in free if not f"{key}.".startswith(NOT_FREE))


def condition_of(row: Row, shown_free: Container[str] | None = None) -> Condition:
    """Return the condition that the row's chain follows.

    Args:
        row: any row of the chain.
        shown_free: of the keys that the protocol leaves free, those that the label names; None: all.
    """
    given = row.config.get("mixing", {})
    parameters = {name: value for name, value in given.items() if name != "policy" and value is not None}
    ratio = 1.0 if row.policy == "replace" else parameters.get("synthetic_ratio")
    if not isinstance(ratio, int | float) or row.policy == "real_only":  # there, r is the share that is left out
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
    """Return a label whose paths are cut to their last part; then a hash keeps two files of one name apart."""
    cut = without_folders(label)
    return label if cut == label else f"{cut} {hashlib.sha256(label.encode(errors='surrogatepass')).hexdigest()[:6]}"


def _chosen(group: str, rule: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a rule that differ from the defaults of its component, which go without saying."""
    schema = registry.schema(group, rule["name"])
    defaults = {name: default_of(field) for name, field in fields_by_name(schema).items()} if schema else {}
    return {name: value for name, value in rule.items() if name not in defaults or value != defaults[name]}


def details(parameters: dict[str, Any]) -> str:
    """Return parameters as a label shows them, in brackets, without what names the rule itself."""
    shown = {**parameters, **parameters.get("parameters", {})}
    names = [name for name in shown if name not in ("name", "function", "parameters")]
    details = ", ".join(f"{short_name(name)} {_text(shown[name])}" for name in names)
    return f" ({details})" if details else ""


def short_name(name: str) -> str:
    """Return what labels call an option: `TPR` for `true_positive_rate`."""
    return SHORT_NAMES.get(name, name.replace("_", " "))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
