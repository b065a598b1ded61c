"""The histogram of samples by perplexity under generation 0: which bars stand where, and that it is on the page."""

from pathlib import Path

import unigram

from bench.analysis.study import studies
from bench.ledger import read_runs
from bench.report import perplexity_figure
from bench.report.build import write


def test_it_shows_every_generation_beside_held_out_text_and_is_on_the_page(tmp_path, monkeypatch):
    for seed in (0, 1):
        unigram.run(tmp_path, f"seed={seed}", "metrics.scores=[perplexity]")
    (study,) = studies(read_runs([tmp_path / "default"]))
    drawn = {}
    monkeypatch.setattr(perplexity_figure, "save", lambda figure, out, name: drawn.update({name: figure}) or [])
    perplexity_figure.perplexity_histograms(study, tmp_path, "perplexity")
    figure = drawn["perplexity"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["generation 0", "generation 1", "generation 2", "held-out text"]
    bars = [step.get_data() for step in figure.axes[0].patches]
    assert len(bars) == 4
    assert all(abs(bar.values.sum() - 1) < 1e-12 for bar in bars)
    monkeypatch.undo()
    write([tmp_path / "default"], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "samples by perplexity under generation 0" in page and (tmp_path / "report/perplexity.png").exists()


def test_histograms_of_several_seeds_are_added_bin_by_bin():
    one = {"edges": [1.0, 2.0, 4.0], "samples": [3, 1], "heldout": [0, 2]}
    other = {"edges": [2.0, 4.0, 8.0], "samples": [5, 7], "heldout": [1, 0]}
    found = perplexity_figure._added([one, other])
    assert found == {"edges": [1.0, 2.0, 4.0, 8.0], "samples": [3, 6, 7], "heldout": [0, 3, 0]}


def test_scores_of_pictures_have_no_such_figure(tmp_path: Path):
    unigram.run(tmp_path, "metrics.scores=[frechet]")
    (study,) = studies(read_runs([tmp_path / "default"]))
    assert perplexity_figure.perplexity_histograms(study, tmp_path, "perplexity") == []
