"""Shared by all tests: nothing is ever sent anywhere, and a whole run can be small."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shrunk import TINY

os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Overrides of a run that takes a second or two and leaves everything below the test's own folder."""
    scores = "metrics.scores=[frechet,kernel,manifold,diversity,copying,tails]"
    return [*TINY, scores, f"output_dir={tmp_path}/outputs"]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a chain of stand-ins with some values changed, three generations by default. It
    returns the finished chain, and the stand-in with what each stage was handed."""
    import echo  # here, because it imports torch

    def run(**changes: Any) -> Any:
        return echo.played(tmp_path, monkeypatch, **{"num_generations": 3, **changes})

    return run


@pytest.fixture(autouse=True)
def hydra_is_left_as_it_was() -> Iterator[None]:
    """Fail the test that leaves Hydra's singleton initialised, not the next one in the same process."""
    yield
    if "hydra.core.global_hydra" in sys.modules:
        hydra = sys.modules["hydra.core.global_hydra"].GlobalHydra.instance()
        left, hydra.hydra = hydra.hydra, None
        assert left is None, "this test left GlobalHydra initialised"


@pytest.fixture(autouse=True, scope="module")
def old_objects_are_not_searched_for_garbage() -> None:
    """Take what lives by now (torch, diffusers, Hydra's tables) out of the garbage collector: each full collection
    walks all of it, and composing one configuration causes several."""
    gc.collect()
    gc.freeze()
