"""The configuration classes of all components, by one name each, and the check that a composed one has passed."""

from typing import TypeVar

from bench.config import Config, MetricsConfig, MixingConfig, ProtocolConfig, RuntimeConfig, TrackingConfig
from bench.custom import (
    CustomDataConfig,
    CustomGeneratorConfig,
    CustomMixingConfig,
    CustomSelectionConfig,
    CustomVettingConfig,
)
from bench.datasets.cifar10 import Config as Cifar10Config
from bench.datasets.cub200 import Config as Cub200Config
from bench.datasets.flowers102 import Config as Flowers102Config
from bench.datasets.folder import Config as FolderConfig
from bench.datasets.mnist import Config as MnistConfig
from bench.datasets.npz import Config as NpzConfig
from bench.datasets.procedural import Config as ProceduralConfig
from bench.generators.ddpm.settings import Config as DDPMConfig
from bench.generators.ddpm.settings import EDMConfig, NoiseConfig, SamplingConfig, SigmaConfig
from bench.generators.flow.settings import Config as FlowConfig
from bench.generators.flow.settings import SamplingConfig as FlowSamplingConfig
from bench.generators.flow.settings import TimeConfig
from bench.generators.shared.schedule import TrainingConfig
from bench.generators.shared.unet_config import UNetConfig
from bench.mixing.accumulate import Config as AccumulateConfig
from bench.mixing.accumulate_subsample import Config as AccumulateSubsampleConfig
from bench.mixing.augment import Config as AugmentConfig
from bench.mixing.blend import Config as BlendConfig
from bench.mixing.fresh import Config as FreshConfig
from bench.mixing.real_only import Config as RealOnlyConfig
from bench.mixing.replace import Config as ReplaceConfig
from bench.mixing.window import Config as WindowConfig
from bench.options import check

__all__ = [
    "AccumulateConfig",
    "AccumulateSubsampleConfig",
    "AugmentConfig",
    "BlendConfig",
    "Cifar10Config",
    "Config",
    "Cub200Config",
    "CustomDataConfig",
    "CustomGeneratorConfig",
    "CustomMixingConfig",
    "CustomSelectionConfig",
    "CustomVettingConfig",
    "DDPMConfig",
    "EDMConfig",
    "FlowConfig",
    "FlowSamplingConfig",
    "Flowers102Config",
    "FolderConfig",
    "FreshConfig",
    "MetricsConfig",
    "MixingConfig",
    "MnistConfig",
    "NoiseConfig",
    "NpzConfig",
    "ProceduralConfig",
    "ProtocolConfig",
    "RealOnlyConfig",
    "ReplaceConfig",
    "RuntimeConfig",
    "SamplingConfig",
    "SigmaConfig",
    "TimeConfig",
    "TrackingConfig",
    "TrainingConfig",
    "UNetConfig",
    "WindowConfig",
    "checked",
]

T = TypeVar("T")


def checked(config: T, path: str = "") -> T:
    """Return a configuration after checking it, as `bench.config.from_hydra` does."""
    check(config, path)
    return config
