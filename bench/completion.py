"""Shell completion of the command `diffusion-collapse-bench`: Hydra's, without what nobody may choose.

Hydra completes the name of a program, so that `python -m bench` cannot be completed, and would install itself for every
`python`. It also offers the schemas of components, which it keeps among the options of each group.
"""

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

COMMAND = "diffusion-collapse-bench"
FLAGS = {"-sc", "--shell-completion"}


def requested(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for completion, as the shell does, or to install or uninstall it."""
    return not FLAGS.isdisjoint(arguments)


def answer(app: Callable[[], Any]) -> str:
    """Return what Hydra answers, for `COMMAND` however it was called and without schemas. app: the Hydra app."""
    sys.argv[0] = COMMAND
    said = io.StringIO()
    with redirect_stdout(said):
        app()
    if not any(argument.startswith("query=") for argument in sys.argv):
        return said.getvalue()
    return " ".join(word for word in said.getvalue().split() if not word.endswith("_schema"))
