"""The Hydra app. `python -m bench experiment=quick` runs one chain; with `-m` and lists of values, it runs a sweep.

Nothing heavy is imported before the configuration has been checked, so help and error messages appear in well under a
second.
"""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from bench import completion, launcher, mistakes, protocols, sweep, usage
from bench.config import from_hydra, register_schemas
from bench.errors import StoreError
from bench.machine import interrupt, torchrun
from bench.machine.pipes import exit_with, reader_may_leave

register_schemas()

SECONDS: list[float] = []
"""Durations of the generations that this process has computed, over all chains of a sweep."""


@hydra.main(version_base="1.3", config_path="pkg://bench.conf", config_name="config")
def app(tree: DictConfig) -> str:
    """Run one chain and return its directory; in a sweep, return "failed" for a chain that fails.

    Exit status: 0: done; 1: a chain failed; 2: the configuration or its data cannot be used; 75: stopped by SIGTERM
    with everything saved, so that the same command resumes.
    """
    try:
        sweep.check_launcher()
        config = from_hydra(tree)
        protocols.check(config)
        sweep.say_what_quick_sets(config)
        from bench.loop import run_chain
        from bench.machine.console import Console

        with interrupt.on_sigterm():
            console = Console(quiet=not torchrun.is_first(), place=sweep.place(), seconds=SECONDS)
            directory = run_chain(config, console)
        sweep.conclude_run(directory)
        return str(directory)
    except interrupt.Interrupted:
        sys.exit(interrupt.EXIT_STATUS)
    except Exception as error:
        return sweep.report_failure(error)


def joined() -> AbstractContextManager[None]:
    """Return a context that joins the processes of torch's launcher, if there are several, once for a whole sweep."""
    if torchrun.num_processes() == 1:
        return nullcontext()
    from bench.machine import distributed

    return distributed.group()


def main() -> None:
    """Run the command line. Ctrl-C ends a sweep or a single run with status 130 and a line on how to resume. SIGTERM
    ends it with status 75 at any moment."""
    overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if sys.argv[1:] == ["--version"]:
        print(usage.version())
        return
    if usage.requested(sys.argv[1:]):
        try:
            with reader_may_leave():
                print(usage.page(sys.argv[1:]))
        except mistakes.Mistakes as error:
            end(mistakes.sentences(error, overrides), sweep.WRONG_CONFIG)
        return
    if sys.argv[1:2] == ["plan"]:
        from bench import plan

        exit_with(lambda: plan.main(sys.argv[2:]))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises the errors that it would otherwise print
    if completion.requested(sys.argv[1:]):
        try:
            print(completion.answer(app))
        except ValueError as error:
            end([f"--shell-completion: {error}"], sweep.WRONG_CONFIG)
        return
    launcher.register()
    if wrong := mistakes.numbered_groups(overrides):
        end(wrong, sweep.WRONG_CONFIG)
    try:
        with interrupt.on_sigterm(for_good=True), joined():  # before the first chain of a sweep and between two
            app()
    except interrupt.Interrupted:
        sys.exit(interrupt.EXIT_STATUS)
    except KeyboardInterrupt:
        print("Interrupted. The same command again resumes from the last checkpoint.", file=sys.stderr)
        sys.exit(130)
    except mistakes.Mistakes as error:
        compose = sweep.compose_first if {"-m", "--multirun"} & {*sys.argv} else protocols.compose_tree
        end(mistakes.sentences(error, overrides, compose), sweep.WRONG_CONFIG)
    except StoreError as error:
        end([str(error)], sweep.FAILED)


def end(sentences: list[str], status: int) -> NoReturn:
    """Print error sentences to stderr and exit with `status`."""
    for sentence in sentences:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
