"""Pictures in tests need not be fit for print."""

import pytest

from bench.report import style


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(style.SETTINGS, "savefig.dpi", 80)
