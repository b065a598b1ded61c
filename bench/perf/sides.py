"""The sides of a comparison, each in a process of its own, as its user has it: one's threads do not wait for the
other's, and neither lives on memory that the other has freed."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from bench.perf.pairs import Work, drain

Turn = Callable[..., None]
"""turn(result): the last turn has ended, with this result; returns when the next begins."""


class Side:
    """A process that works for one turn when it is called, and waits otherwise.

    main: called there as main(turn, *arguments); it is ready with its first call of turn. Both must be importable and
    picklable. A call returns the turn's result. Raises `RuntimeError`, with the traceback, where the process fails.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, main, arguments))
        self._process.start()
        there.close()
        self._answer()

    def __call__(self) -> Any:
        self._pipe.send(None)
        return self._answer()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # which ends a process that waits for its turn
        self._process.join(timeout=60)
        self._process.kill()

    def _answer(self) -> Any:
        try:
            failure, result = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"a side of the comparison ended with status {self._process.exitcode}") from None
        if failure is not None:
            raise RuntimeError(f"a side of the comparison failed:\n{failure}")
        return result


def repeat(turn: Turn, make: Callable[..., Work], *arguments: Any) -> None:
    """The main of a side that does the same work in every turn."""
    work, result = make(*arguments), None
    while True:
        turn(result)
        result = work()


def set_threads() -> None:
    """Two, as the targets say, unless the environment says otherwise."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(2)


class _Closed(Exception):
    """Nobody asks for another turn."""


def _serve(pipe: Connection, main: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    def turn(result: Any = None) -> None:
        drain()
        pipe.send((None, result))
        try:
            pipe.recv()
        except EOFError:
            raise _Closed from None

    try:
        set_threads()
        main(turn, *arguments)
    except _Closed:
        pass
    except BaseException:
        pipe.send((traceback.format_exc(), None))
