"""Shared by all tests: nothing is ever sent anywhere, and a whole run can be small."""

import os
from pathlib import Path

import pytest
from shrunk import TINY

os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Overrides of a run that takes a second or two and leaves everything below the test's own folder."""
    return [*TINY, f"output_dir={tmp_path}/outputs"]
