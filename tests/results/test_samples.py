"""Pictures of samples for the leaderboard: `pack --samples` draws them from the store, and a page shows its own."""

import re
from dataclasses import replace
from pathlib import Path

import made_up
import numpy as np
import pytest
from made_up import fabricate
from PIL import Image

from bench import ledger
from bench.results import pages, shelf
from bench.results.__main__ import main
from bench.results.result_file import study_of
from bench.results.samples import draw_samples, picture_name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of four generations of three ratios and seeds with its samples in a store."""
    return fabricate.sweep(tmp_path_factory.mktemp("run"), sweep="flowers")


def test_pack_draws_one_small_picture_of_a_study(run, tmp_path, capsys):
    status = main(["pack", str(run), "--out", str(tmp_path / "files"), "--samples", str(tmp_path / "samples")])
    said = capsys.readouterr().out.splitlines()
    study = study_of(ledger.read_runs([run])[0].rows[0])
    (picture,) = (tmp_path / "samples").iterdir()
    assert status == 0 and said[-1] == str(picture)
    assert picture.name == f"{study['name']}-{study['version']}.png"
    with Image.open(picture) as image:
        assert image.format == "PNG" and image.mode == "P"
        assert 900 < image.width < 1200 and image.height > 0.7 * image.width, "four generations of three ratios"
        assert picture.stat().st_size < 150_000
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.ptp(shown, axis=2).max() > 100, "the blossoms have colours"


def test_each_value_of_what_a_protocol_leaves_free_of_its_data_has_a_picture_of_its_own():
    row = made_up.row(0.5, 0, 0)
    assert picture_name(row) == "collapse_mini_v1-1", "a split of 0 is not named"
    assert picture_name(made_up.row(0.5, 0, 0, "data.split_seed=1")) == "collapse_mini_v1-1-split_seed1"
    sized = {**row.config, "data": {**row.config["data"], "num_train": 256}}
    assert picture_name(replace(row, config=sized)) == "collapse_mini_v1-1", "which this protocol does not leave free"
    sized["protocol"] = {**row.config["protocol"], "free": {"seed": [0], "data.num_train": [256, 512]}}
    assert picture_name(replace(row, config=sized)) == "collapse_mini_v1-1-num_train256"


def test_a_study_whose_samples_are_gone_has_no_picture(tmp_path):
    drawn, missing = draw_samples(made_up.family("vae"), tmp_path)
    assert drawn == [] and len(missing) == 12, "four generations of the longest chain of each ratio"


def test_a_page_shows_the_picture_of_its_own_study_alone(tmp_path):
    shelf.pack(made_up.family("vae"), tmp_path / "files")
    entries = shelf.read(tmp_path / "files")
    own = f"{entries[0].name}-{entries[0].version}"
    (tmp_path / "pages" / "samples").mkdir(parents=True)
    for name in (own, "another-1"):
        (tmp_path / "pages" / "samples" / f"{name}.png").touch()
    pages.write(entries, tmp_path / "pages")
    page = (tmp_path / "pages" / f"{own}.md").read_text()
    assert f"## Samples\n\n*vae16 version {entries[0].version}, no protocol · [run it again](#run-it-again)*\n" in page
    assert f"![samples](samples/{own}.png)" in page and "another" not in page


def test_each_study_of_a_page_shows_its_own_picture(tmp_path):
    shelf.pack([*made_up.chains(), *made_up.chains((0.0, 1.0), (0, 1), "data.split_seed=1")], tmp_path / "files")
    (tmp_path / "pages" / "samples").mkdir(parents=True)
    for name in ("collapse_mini_v1-1", "collapse_mini_v1-1-split_seed1"):
        (tmp_path / "pages" / "samples" / f"{name}.png").touch()
    pages.write(shelf.read(tmp_path / "files"), tmp_path / "pages")
    page = (tmp_path / "pages" / "collapse_mini_v1-1.md").read_text()
    shown = re.findall(
        r"^## Samples, .*data\.split_seed=(\d).*\n\n.*\n\n!\[samples\]\(samples/(.*)\)", page, re.MULTILINE
    )
    assert shown == [("0", "collapse_mini_v1-1.png"), ("1", "collapse_mini_v1-1-split_seed1.png")]
