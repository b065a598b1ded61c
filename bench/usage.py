"""`python -m bench --help`: how it is used, the configuration groups, and the configuration that the overrides give.

Instead of Hydra's own page, which copies every registered schema once per group and takes seconds to do so.
"""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import OmegaConf

FLAGS = ("-h", "--help")

TEMPLATE = """\
python -m bench [group=option …] [key=value …]      one chain; the same command again goes on where it was
python -m bench -m key=a,b …                        a sweep: a chain for every combination of the values
python -m bench --cfg job [overrides]               only the configuration; --hydra-help: all of Hydra's flags
python -m bench.report outputs/NAME                 tables, figures and a page of what has been run

== Configuration groups ==
Choose with group=option; conf/GROUP/OPTION.yaml says what each is.

{groups}

== Config ==
Override anything with key=value; shown as it stands with the overrides beside --help.

{config}"""


def wanted(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for this page. With any other flag, such as --config-dir, Hydra answers itself."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    return bool(flags) and flags <= set(FLAGS)


def page(arguments: Sequence[str]) -> str:
    """The help, for the overrides among the arguments. Raises `HydraException` for those that cannot be composed."""
    overrides = [argument for argument in arguments if argument not in FLAGS]
    with initialize_config_module("bench.conf", version_base="1.3"):
        config = compose("config", overrides=overrides)
    options = dict(sorted(groups(files("bench.conf"))))
    lines = [f"{group}: {', '.join(names)}" for group, names in options.items()]
    return TEMPLATE.format(groups="\n".join(lines), config=OmegaConf.to_yaml(config))


def groups(folder: Traversable, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """(group, its options) of every folder below this one; of Hydra's own groups the launchers."""
    for entry in folder.iterdir():
        group = f"{name}/{entry.name}" if name else entry.name
        if not entry.is_dir() or entry.name.startswith("_") or entry.name.endswith("_logging"):
            continue
        options = sorted(file.name.removesuffix(".yaml") for file in entry.iterdir() if file.name.endswith(".yaml"))
        if options:
            yield group, options
        yield from groups(entry, group)


def reason(error: HydraException) -> str:
    """What Hydra says, and what OmegaConf said to it."""
    return "\n".join(str(e) for e in (error, error.__cause__) if e is not None)
