"""`python -m bench --help`: the commands, the configuration groups, and the configuration composed from the overrides.

Hydra's own help page lists the schemas among the options of each group, and copies every registered schema once per
group, which takes 1.3 s of CPU time. This page takes 0.35 s.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.resources import files
from importlib.resources.abc import Traversable

from omegaconf import OmegaConf

from bench import protocols

FLAGS = {"-h", "--help"}

TEMPLATE = """\
python -m bench [group=option …] [key=value …]      one chain; the same command again resumes it
python -m bench -m key=a,b …                        a sweep: a chain for every combination of the values
python -m bench plan [overrides]                    what these would do: trainings, what is stored, time, disk
python -m bench --cfg job [overrides]               only the configuration; --hydra-help: all of Hydra's flags

== Commands ==
{commands}

== Configuration groups ==
Choose with group=option; conf/GROUP/OPTION.yaml describes each option.

{groups}

== Config ==
Override any value with key=value; overrides next to --help are included below.

{config}"""


def requested(arguments: Sequence[str]) -> bool:
    """Return whether a command line requests this page. If it has any other flag, such as --config-dir, Hydra shows its
    own page."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    return bool(flags) and flags <= FLAGS


def version() -> str:
    """Return the name and the installed version of this package."""
    name = "diffusion-collapse-bench"
    return f"{name} {metadata.version(name)}"


def page(arguments: Sequence[str]) -> str:
    """Return the help page for the overrides among the arguments. Raises `HydraException` if they cannot be
    composed."""
    tree = protocols.compose_tree([argument for argument in arguments if argument not in FLAGS])
    lines = [f"{group}: {', '.join(options)}" for group, options in sorted(groups(files("bench.conf")))]
    verbs = [f"{command}\n    {about}" for command, about in commands()]
    return TEMPLATE.format(commands="\n".join(verbs), groups="\n".join(lines), config=OmegaConf.to_yaml(tree))


def groups(folder: Traversable, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield (group, its options) for every folder below `folder`, without Hydra's logging groups. name: The group of
    `folder` itself."""
    for entry in folder.iterdir():
        group = f"{name}/{entry.name}" if name else entry.name
        if not entry.is_dir() or entry.name.startswith("_") or entry.name.endswith("_logging"):
            continue
        options = sorted(file.name.removesuffix(".yaml") for file in entry.iterdir() if file.name.endswith(".yaml"))
        if options:
            yield group, options
        yield from groups(entry, group)


def commands() -> Iterator[tuple[str, str]]:
    """Yield (`python -m bench.NAME …`, description) for every module that can be run and whose docstring begins with
    that command. The package `perf`, which is for developers of the benchmark, is left out."""
    package = files("bench")
    rooms = [entry for entry in package.iterdir() if entry.is_dir() and entry.name not in ("perf", "__pycache__")]
    found = []
    for room in (package, *rooms):
        for file in room.iterdir():
            if file.name.endswith(".py") and "__name__ ==" in (source := file.read_text("utf-8")):
                first = " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())
                line = re.fullmatch(r"`?(python -m bench\.[^:`]+)`?: (.+)", first)
                found += [(line[1], line[2])] if line else []
    yield from sorted(found)
