"""The performance table shows the measured ratios, and both sides of a row do the same work."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.perf import __main__ as command
from bench.perf import compare_scores, compare_startup, growth
from bench.perf.pairs import Comparison, Spread, alternate, table
from bench.perf.peers.scores import clean_fid_runs


def test_ratios_are_taken_pair_by_pair():
    """The machine slows down by ten in the second pair; the ratio is the same."""
    row = Comparison("row", "peer", "image", ours=[1.0, 10.0, 1.0], theirs=[2.0, 20.0, 3.0], target=2.5)
    assert row.ratio == Spread(2.0, 2.0, 3.0) and row.reached is False
    assert Comparison("row", "peer", "image", [1.0], [3.0], target=2.5).reached is True
    assert Comparison("row", "peer", "image", [1.0], [3.0]).reached is None


def test_sides_take_turns_and_swap_who_is_first():
    order: list[str] = []
    turns = [lambda: (1.0, order.append("a")), lambda: (2.0, order.append("b") or "result")]
    seconds, results = alternate(*turns, num_pairs=3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert seconds == [[1.0] * 3, [2.0] * 3] and results == [None, "result"]
    order.clear()
    alternate(*turns, num_pairs=1, warmup=False)
    assert order == ["a", "b"]


def test_a_row_is_readable():
    row = Comparison("FID", "torchmetrics", "set", ours=[0.5, 0.6], theirs=[3.0, 4.2], target=6)
    head, rule, line = table([row])
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line == "| FID | torchmetrics | 0.55 s | 3.6 s | set | 6–6.5–7 | ≥ 6 | reached |"
    assert json.loads(json.dumps(row.as_json()))["ratio"] == pytest.approx({"low": 6.0, "median": 6.5, "high": 7.0})


def values(name: str, sets: tuple[np.ndarray, np.ndarray]):
    return compare_scores.WORK[name](*sets)()


@pytest.mark.parametrize("theirs", compare_scores.TARGETS["frechet"])
def test_frechet_distances_agree_with_the_peers(theirs):
    if theirs == "clean_fid" and not clean_fid_runs():
        pytest.skip("clean-fid calls sqrtm in a way that this scipy no longer has")
    sets = compare_scores.features(300, 24)
    assert values("frechet", sets) == pytest.approx(values(theirs, sets), rel=1e-5)


@pytest.mark.parametrize("theirs", compare_scores.TARGETS["manifold"])
def test_manifold_scores_agree_with_the_peers(theirs):
    sets = compare_scores.features(300, 24)
    mine, other = values("manifold", sets), values(theirs, sets)
    shared = mine.keys() & other.keys()
    assert {"precision", "recall"} <= shared
    assert {name: mine[name] for name in shared} == pytest.approx({name: other[name] for name in shared}, abs=1e-6)


def test_kernel_distances_agree_with_the_peer_over_subsets():
    """Each draws subsets of its own, 100 of half of the images; the peer draws from torch's global state."""
    torch.manual_seed(0)
    sets = compare_scores.features(1000, 24)
    assert values("kernel", sets) == pytest.approx(values("torchmetrics_kid", sets), rel=0.1)


def test_peak_memory_is_that_of_the_work_alone(monkeypatch):
    """A temporary 80 MB are counted; the features are not."""
    monkeypatch.setitem(compare_scores.WORK, "manifold", lambda x, y: lambda: torch.ones(len(x) * 10_000).sum())
    seconds, extra_mib = growth.turn_with_memory("manifold", 2000)()
    assert 70 < extra_mib < 120 and seconds > 0


@pytest.mark.slow
def test_measured_rows_are_kept_if_a_later_row_fails(monkeypatch, tmp_path):
    row = Comparison("row", "peer", "image", ours=[1.0], theirs=[2.0])

    def measure(section, short):
        yield section, row
        raise RuntimeError("a side of the comparison failed")

    monkeypatch.setattr(command, "measure", measure)
    with pytest.raises(RuntimeError):
        command.main(["--only", "scores", "--out", str(tmp_path)])
    assert [row["row"] for row in json.loads((tmp_path / "results.json").read_text())["rows"]] == ["row"]
    assert "| row | peer |" in (tmp_path / "table.md").read_text()


def test_missing_peers_are_named(monkeypatch, capsys):
    monkeypatch.setattr(command, "PEERS", ("torchmetrics", "no-such-package"))
    assert command.main([]) == 2
    assert "no-such-package" in capsys.readouterr().err


@pytest.mark.slow
def test_the_short_form_fails_where_no_pair_reaches_a_quarter(monkeypatch, tmp_path, capsys):
    slow = Comparison("row", "peer", "image", ours=[1.0], theirs=[1.1], target=6.0)
    monkeypatch.setattr(compare_scores, "rows", lambda short: iter([slow]))
    options = ["--only", "scores", "growth", "--out", str(tmp_path)]
    assert command.main([*options, "--short"]) == 1
    assert "MISSED" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["reached"] is False
    once_disturbed = replace(slow, ours=[1.0, 9.0, 9.0], theirs=[1.6, 1.6, 1.6])
    monkeypatch.setattr(compare_scores, "rows", lambda short: iter([once_disturbed]))
    assert command.main([*options, "--short"]) == 0
    assert command.main(["--only", "scores", "--out", str(tmp_path)]) == 0, "a full run reports; it does not judge"
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.slow  # CI runs it by itself
def test_the_short_form_has_no_absolute_times(monkeypatch):
    monkeypatch.setattr(compare_startup, "rows", lambda short: pytest.fail("start-up is compared with seconds"))
    assert set(command.SECTIONS) - set(command.SHORT_SECTIONS) == {"startup", "growth"}
    assert command.main(["--short", "--only", "startup"]) == 0
