"""The sides of a comparison, each in its own process, so that they do not share threads or memory settings."""

import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from bench.perf.pairs import Turn

_turn: Turn


class Side(ProcessPoolExecutor):
    """A turn that runs in another process, where `make(*arguments)` prepares it. Use in a `with` statement, which ends
    the process.

    Raises `RuntimeError` with the traceback of an error in that process, and `BrokenProcessPool` if it was killed.
    """

    def __init__(self, make: Callable[..., Turn], *arguments: Any) -> None:
        super().__init__(1, mp_context=get_context("spawn"))
        self.submit(_prepare, make, arguments).result()

    def __call__(self) -> tuple[float, Any]:
        return self.submit(_run).result()


def _prepare(make: Callable[..., Turn], arguments: tuple[Any, ...]) -> None:
    global _turn
    _turn = _reported(lambda: make(*arguments))


def _run() -> tuple[float, Any]:
    return _reported(_turn)


def _reported(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception:  # not every exception can be sent to another process
        raise RuntimeError(f"a side of the comparison failed:\n{traceback.format_exc()}") from None
