"""User-defined components: a file outside the project, chosen with `custom` in a group that has this option.

`data=custom` and `generator=custom` name a module, whose `Config` is built from `parameters`. `mixing=custom`,
`selection=custom` and `vetting=custom` name a function, which gets `parameters` as keyword arguments. docs/extending/
has an example of each.
"""

from dataclasses import dataclass
from typing import Any

from bench.config import (
    DataConfig,
    GeneratorConfig,
    MixingConfig,
    RemedyConfig,
    SelectionConfig,
    VettingConfig,
    VettingRuleConfig,
    WatermarkConfig,
)
from bench.errors import ConfigError
from bench.options import option


@dataclass
class CustomDataConfig(DataConfig):
    """A user-defined data set: the module offers `Config`, `VERSION` and `open_source`."""

    name: str = "custom"
    module: str = option()
    parameters: dict[str, Any] = option({})


@dataclass
class CustomGeneratorConfig(GeneratorConfig):
    """A user-defined generator: the module offers `Config`, `VERSION`, `fit` and `sample`."""

    name: str = "custom"
    module: str = option()
    parameters: dict[str, Any] = option({})


@dataclass
class CustomMixingConfig(MixingConfig):
    """A user-defined policy: `module:function`, called as function(history, **parameters)."""

    policy: str = "custom"
    function: str = option()
    parameters: dict[str, Any] = option({})

    def validate(self) -> None:
        _check_form(self.function)


@dataclass
class CustomSelectionConfig(SelectionConfig):
    """A user-defined selection: `module:function`, called as function(candidates, **parameters)."""

    name: str = "custom"
    function: str = option()
    num_candidates: int = option(at_least=1)
    parameters: dict[str, Any] = option({})

    def validate(self) -> None:
        _check_form(self.function)


@dataclass
class CustomVettingConfig(VettingRuleConfig):
    """A user-defined vetting rule: `module:function`, called as function(drawn, **parameters)."""

    name: str = "custom"
    function: str = option()
    parameters: dict[str, Any] = option({})

    def validate(self) -> None:
        _check_form(self.function)


SCHEMAS: dict[str, dict[str, type]] = {
    "custom": {
        "data": CustomDataConfig,
        "generator": CustomGeneratorConfig,
        "mixing": CustomMixingConfig,
        "selection": CustomSelectionConfig,
        "vetting": CustomVettingConfig,
    },
    "none": {
        "selection": SelectionConfig,
        "vetting": VettingConfig,
        "watermark": WatermarkConfig,
        "remedy": RemedyConfig,
    },
}
"""The components that are not files in a group's package: name -> group -> configuration class."""


def _check_form(function: str) -> None:
    if function.count(":") != 1:
        raise ConfigError("function", function, "must have the form module:function")
