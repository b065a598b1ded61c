"""Pictures in tests need not be fit for print; one test draws every format."""

import pytest

from bench.report import style


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(style.SETTINGS, "savefig.dpi", 80)
    monkeypatch.setattr(style, "FORMATS", ("png",))
