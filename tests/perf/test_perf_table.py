"""What the performance table says, and that what it times is the same work on both sides."""

import json

import pytest
import torch

from bench.perf import __main__ as command
from bench.perf import peak, scores, table
from bench.perf.pairs import Comparison, Spread, alternate
from bench.perf.peers.scores import clean_fid_runs
from bench.perf.roofline import report


def test_ratios_are_taken_pair_by_pair():
    """The machine slows down by ten in the second pair; the ratio is the same."""
    row = Comparison("row", "peer", "image", ours=[1.0, 10.0, 1.0], theirs=[2.0, 20.0, 3.0], target=2.5)
    assert row.ratio == Spread(2.0, 2.0, 3.0) and row.reached is False
    assert Comparison("row", "peer", "image", [1.0], [3.0], target=2.5).reached is True
    assert Comparison("row", "peer", "image", [1.0], [3.0]).reached is None


def test_sides_take_turns_and_swap_who_is_first():
    order: list[str] = []
    seconds = alternate(lambda: order.append("a"), lambda: order.append("b"), num_pairs=3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert [len(s) for s in seconds] == [3, 3]


def test_a_row_is_readable():
    row = Comparison("FID", "torchmetrics", "set", ours=[0.5, 0.6], theirs=[3.0, 4.2], target=6)
    head, rule, line = table.lines([row])
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line == "| FID | torchmetrics | 0.55 s | 3.6 s | set | 6–6.5–7 | ≥ 6 | reached |"
    assert json.loads(json.dumps(table.as_json(row)))["ratio"] == pytest.approx(
        {"low": 6.0, "median": 6.5, "high": 7.0}
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("frechet", "torchmetrics_fid"), ("frechet", "scipy_sqrtm"), ("frechet", "clean_fid")],
)
def test_frechet_distances_agree_with_the_peers(ours, theirs):
    if theirs == "clean_fid" and not clean_fid_runs():
        pytest.skip("clean-fid calls sqrtm in a way that this scipy no longer has")
    sets = scores.features(300, 24)
    assert scores.WORK[ours](*sets)() == pytest.approx(scores.WORK[theirs](*sets)(), rel=1e-5)


@pytest.mark.parametrize("theirs", ["torch_fidelity_full", "torch_fidelity_parts", "prdc"])
def test_manifold_scores_agree_with_the_peers(theirs):
    sets = scores.features(300, 24)
    mine, other = scores.WORK["manifold"](*sets)(), scores._silent(scores.WORK[theirs](*sets))()
    shared = mine.keys() & other.keys()
    assert {"precision", "recall"} <= shared
    assert {name: mine[name] for name in shared} == pytest.approx({name: other[name] for name in shared}, abs=1e-6)


def test_peak_memory_is_that_of_the_work_alone(monkeypatch, capsys):
    """80 MB that come and go are seen; the features given to the work are not."""

    def work(subject, reference):
        return lambda: torch.ones(len(subject) * 10_000).sum()

    monkeypatch.setitem(scores.WORK, "manifold", work)
    peak.main("manifold", 2000)
    found = json.loads(capsys.readouterr().out)
    assert 70 < found["extra_mib"] < 120 and found["seconds"] > 0


def test_the_paper_says_hours():
    text = "\n".join(report())
    assert "37.1 M parameters" in text and "93 trainings of collapse_v1" in text


def test_what_has_been_measured_is_kept_where_a_later_row_fails(monkeypatch, tmp_path):
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


def test_the_short_form_fails_where_a_ratio_has_fallen(monkeypatch, tmp_path, capsys):
    slow = Comparison("row", "peer", "image", ours=[1.0], theirs=[1.1], target=1.5)
    monkeypatch.setattr(command, "measure", lambda section, short: iter([(section, slow)]))
    options = ["--only", "scores", "--out", str(tmp_path)]
    assert command.main([*options, "--short"]) == 1
    assert command.main(options) == 0, "a full run reports; it does not judge"
    assert "MISSED" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["reached"] is False
