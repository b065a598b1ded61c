"""Components of your own: a file outside the project, chosen by `custom` in any group.

`data=custom` and `generator=custom` name a module, whose `Config` gets `parameters`; `mixing=custom`,
`selection=custom` and `vetting=custom` name a function, which gets them as keyword arguments. docs/extending/ has an
example of each.
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
    """A data set of your own: the module offers `Config`, `VERSION` and `open_source`."""

    name: str = "custom"
    module: str = option()
    parameters: dict[str, Any] = option({})


@dataclass
class CustomGeneratorConfig(GeneratorConfig):
    """A generator of your own: the module offers `Config`, `VERSION`, `fit` and `sample`."""

    name: str = "custom"
    module: str = option()
    parameters: dict[str, Any] = option({})


@dataclass
class CustomMixingConfig(MixingConfig):
    """A policy of your own: `module:function`, called as function(history, **parameters)."""

    policy: str = "custom"
    function: str = option()
    parameters: dict[str, Any] = option({})

    def validate(self) -> None:
        _check_form(self.function)


@dataclass
class CustomSelectionConfig(SelectionConfig):
    """A selection of your own: `module:function`, called as function(candidates, **parameters)."""

    name: str = "custom"
    function: str = option()
    num_candidates: int = option(at_least=1)
    parameters: dict[str, Any] = option({})

    def validate(self) -> None:
        _check_form(self.function)


@dataclass
class CustomVettingConfig(VettingRuleConfig):
    """A vetting rule of your own: `module:function`, called as function(drawn, **parameters)."""

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
"""The components of a group that are no file of its room: name -> group -> configuration class."""


def _check_form(function: str) -> None:
    if function.count(":") != 1:
        raise ConfigError("function", function, "must have the form module:function")
