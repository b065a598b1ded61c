"""Shell completion of the command `diffusion-collapse-bench`: Hydra's completion without the options that nobody may
choose.

Hydra completes a program by its name. It cannot complete `python -m bench`, because it would install itself for every
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
    """Return whether a command line asks for completion, as the shell does, or to install or uninstall completion."""
    return not FLAGS.isdisjoint(arguments)


def answer(app: Callable[[], Any]) -> str:
    """Return Hydra's answer without schemas, as if the program were called `COMMAND`. app: the Hydra app."""
    sys.argv[0] = COMMAND
    said = io.StringIO()
    with redirect_stdout(said):
        app()
    if not any(argument.startswith("query=") for argument in sys.argv):
        return said.getvalue()
    return " ".join(word for word in said.getvalue().split() if not word.endswith("_schema"))
