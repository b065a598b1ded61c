"""What a person looks at of a generation, and how it is written down: text files, and the axes of points."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_ledger import make_row

from bench import recording
from bench.analysis import shown
from bench.files import sha256_of

MODULE = """
import numpy as np
from dataclasses import dataclass
from bench import config
VERSION, KIND = 1, "points"

@dataclass
class Config(config.DataConfig):
    name: str = ""
    height: float = 1.0

def true_risk(given, items):
    return given.height * (items ** 2).sum(axis=1)

def decode(given, items):
    return [" ".join("abcdefgh"[t] for t in row) + "\\n\\n2.\\n" for row in items]
"""


@pytest.fixture
def of_data(tmp_path, monkeypatch):
    """A row of a chain whose data are a user's module, and whose real points are in the store."""
    (tmp_path / "shown_data.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    real = tmp_path / "store" / "real" / "ab" / "abc" / "train"
    real.mkdir(parents=True)
    np.save(real / "items.npy", np.random.default_rng(0).normal(size=(1500, 2)))
    data = {"name": "custom", "module": "shown_data", "parameters": {"height": 2.0}}

    def make(generation=0, **changes):
        given = {"artifacts": {"real": "real/abc"}, "store_dir": str(tmp_path / "store"), "config": {"data": data}}
        return make_row(generation, **{**given, **changes})

    return make


TEXTS = [
    "plain",
    "",
    "two\nlines",
    "\n\nstarts and ends empty\n",
    "1.\n2.\n    3.",
    "  indented\n\n",
    "12.",
    "probes 0",
    "<b>&amp;",
]


def test_texts_come_back_from_their_file_as_they_were():
    written = shown.to_file(TEXTS, "c0ffee")
    assert shown.from_file(written, "c0ffee") == TEXTS
    assert shown.from_file(written, "other") == []
    assert written.startswith("probes c0ffee\n\n1.\n    plain\n\n2.\n")
    assert shown.from_file(shown.to_file(["a\x00b\u202ec\r\n"], ""), "") == ["a�b�c�\n"]


def test_tokens_are_words_where_the_data_set_has_them(tmp_path: Path, of_data):
    tokens = np.array([[0, 1, 2], [7, 7, 7]], np.int32)
    row = of_data(3, checksums={"probes": "abc"})
    recording.show(tmp_path, row, tokens)
    assert [path.name for path in (tmp_path / "probes").iterdir()] == ["generation_0003.txt"]
    assert shown.texts_of(tokens, row, tmp_path) == ["a b c\n\n2.\n", "h h h\n\n2.\n"]
    assert shown.texts_of(tokens, of_data(3, checksums={"probes": "other"}), tmp_path) == ["0 1 2", "7 7 7"]
    assert shown.texts_of(tokens, of_data(4, checksums={"probes": "abc"}), tmp_path) == ["0 1 2", "7 7 7"]
    (tmp_path / "probes" / "generation_0003.txt").write_bytes(b"\xff\xfe")
    assert shown.texts_of(tokens, row, tmp_path) == ["0 1 2", "7 7 7"]


def test_tokens_without_words_are_numbers(tmp_path: Path):
    row = make_row(0, config={"data": {"name": "procedural"}})
    recording.show(tmp_path, row, np.array([[5, 6]], np.int32))
    assert "1.\n    5 6\n" in (tmp_path / "probes" / "generation_0000.txt").read_text()


def test_points_lie_over_their_true_density_on_axes_that_stay(tmp_path: Path, of_data):
    """The axes are written once, and a report draws the same picture without the data set's module."""
    points = np.random.default_rng(1).normal(size=(300, 2))
    for generation in (0, 1):
        recording.show(tmp_path, of_data(generation), points * 0.5**generation)
    found = sorted(path.name for path in (tmp_path / "probes").iterdir())
    assert found == ["generation_0000.png", "generation_0001.png", "plane.npz"]
    elsewhere = make_row(0, config={"data": {"name": "custom", "module": "not_here"}}, store_dir="/nowhere")
    axes = shown.plane_of(points, elsewhere, tmp_path)
    assert axes.density is not None and len(axes.real) == shown.MOST_REAL
    x, y = np.unravel_index(axes.density.argmax(), axes.density.shape)
    assert max(abs(x - 64), abs(y - 64)) < 12, "the height of the true density is at the origin"
    middle = axes.low + (axes.high - axes.low) * (np.array([x, y]) + 0.5) / 128
    step = (axes.high[0] - axes.low[0]) / 128
    expected = np.exp(-2 * ((middle + np.array([5 * step, 0])) ** 2).sum() + 2 * (middle**2).sum())
    assert axes.density[x + 5, y] / axes.density[x, y] == pytest.approx(expected, rel=1e-4)
    drawn = np.asarray(shown.picture(points, elsewhere, tmp_path))
    np.testing.assert_array_equal(drawn, np.asarray(Image.open(tmp_path / "probes" / "generation_0000.png")))


def test_a_chain_that_begins_again_writes_its_axes_again(tmp_path: Path, of_data):
    points = np.zeros((5, 2))
    recording.show(tmp_path, of_data(0), points)
    before = sha256_of(tmp_path / "probes" / "plane.npz")
    path = next((tmp_path / "store").rglob("items.npy"))
    np.save(path, np.load(path) * 3)
    recording.show(tmp_path, of_data(1), points)
    assert sha256_of(tmp_path / "probes" / "plane.npz") == before
    recording.show(tmp_path, of_data(0), points)
    assert sha256_of(tmp_path / "probes" / "plane.npz") != before


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no archive", b"not at all"])
def test_without_recorded_axes_the_real_points_set_them(tmp_path: Path, of_data, content):
    (tmp_path / "probes").mkdir()
    if content is not None:
        (tmp_path / "probes" / "plane.npz").write_bytes(content)
    axes = shown.plane_of(np.zeros((5, 2)), of_data(), tmp_path)
    assert axes.density is None and axes.high[0] > 2
    gone = shown.plane_of(np.arange(10.0).reshape(5, 2), of_data(store_dir="/nowhere"), tmp_path / "else")
    assert len(gone.real) == 0 and gone.low[0] < 0 < 8 < gone.high[0]
    assert json.dumps(gone.low.tolist())


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (9, list(range(10))),
        (350, [0, 50, 100, 150, 200, 250, 300, 350]),
        (50, [0, 10, 20, 30, 40, 50]),
        (2000, [0, 400, 800, 1200, 1600, 2000]),
        (11, [0, 2, 3, 5, 6, 8, 9, 11]),
    ],
)
def test_of_a_long_chain_some_generations_are_shown_at_equal_steps(last: int, expected: list[int]):
    assert shown.some_of(list(range(last + 1)), 10, 8) == expected
