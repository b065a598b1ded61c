"""Pictures for the page: exact where they are small, and never more than a page can carry."""

import base64
import io
from pathlib import Path

import fabricate
import numpy as np
import pytest
from PIL import Image
from test_ledger import make_row

from bench import ledger
from bench.analysis.artifacts import load_probes
from bench.analysis.study import Study, studies
from bench.errors import DataError
from bench.files import sha256_of
from bench.ledger import Chain
from bench.report import sheets


def study_of(tmp_path: Path) -> Study:
    (study,) = studies(
        ledger.read_runs([fabricate.sweep(tmp_path, ratios=(0.0, 1.0), seeds=(0, 1), num_generations=2)])
    )
    return study


def decoded(uri: str) -> np.ndarray:
    """uint8 (P, 3, H, H)"""
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))
    side = picture.shape[0]
    return picture.reshape(side, -1, side, 3).transpose(1, 3, 0, 2)


def test_small_pictures_are_kept_to_the_pixel() -> None:
    images = fabricate.flowers(5, 0.3, seed=1)
    np.testing.assert_array_equal(decoded(sheets.encode(images)), images)


def test_large_pictures_are_close_and_not_too_large() -> None:
    images = fabricate.flowers(3, 0.0, seed=1, side=160)
    shown = decoded(sheets.encode(images))
    assert shown.shape == (3, 3, sheets.SIDE, sheets.SIDE)


def test_shared_generations_are_stored_once_and_neighbours_are_the_nearest(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    uris: list[str] = []
    made = sheets.build(study, uris, sheets.BUDGET)
    assert (made.count, made.side, made.has_neighbours, made.notes) == (16, 16, True, [])
    first, last = made.sheets
    assert first[0][0] == last[0][0]  # generation 0 of seed 0 at both ratios
    assert last[0][0] != last[0][1]
    assert len(uris) == len(set(uris))
    samples, near = (uris[i] for i in last[0][1] if i is not None)
    real = np.load(next(tmp_path.glob("store/real/**/items.npy")))
    for sample, neighbour in zip(decoded(samples).astype(float), decoded(near), strict=True):
        distances = ((real.astype(float) - sample) ** 2).sum((1, 2, 3))
        np.testing.assert_array_equal(neighbour, real[distances.argmin()])


@pytest.mark.parametrize(
    ("share", "expected_note"), [(0.6, "8 of 16 samples"), (0.3, "4 of 16 samples"), (0.18, "seed 0 only")]
)
def test_a_small_budget_is_kept_and_noted(tmp_path: Path, share: float, expected_note: str) -> None:
    study = study_of(tmp_path)
    whole: list[str] = []
    sheets.build(study, whole, sheets.BUDGET)
    budget = int(share * sum(map(len, whole)))
    uris: list[str] = []
    made = sheets.build(study, uris, budget)
    assert sum(map(len, uris)) <= budget
    assert any(expected_note in note for note in made.notes), made.notes


def test_without_pictures_there_is_nothing_to_show(tmp_path: Path) -> None:
    (study,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, seeds=(0,), pictures=False)]))
    assert sheets.build(study, [], sheets.BUDGET).count == 0


def test_probes_that_are_not_those_of_the_row_are_never_shown(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "sample" / "ab" / "abc"
    folder.mkdir(parents=True)
    np.save(folder / "probes.npy", np.zeros((2, 3, 8, 8), np.uint8))
    row = make_row(
        artifacts={"probes": "sample/ab/abc/probes.npy"},
        checksums={"probes": sha256_of(folder / "probes.npy")},
        store_dir=str(tmp_path / "store"),
    )
    chain = Chain(row.chain, tmp_path / "quick" / row.chain, [row])
    assert load_probes(chain, row) is not None
    np.save(folder / "probes.npy", np.full((2, 3, 8, 8), 255, np.uint8))
    with pytest.raises(DataError, match="not the probes that generation 0"):
        load_probes(chain, row)
