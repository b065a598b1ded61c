"""Sizes of network and data: planted changes are found in pairs of seeds, among those that differ in one size alone."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import fabricate
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from bench.analysis.sizes import EQUAL_COMPUTE, EQUAL_STEPS, ITEMS, sizes, trend_words
from bench.analysis.study import Study, studies
from bench.ledger import Chain, Row
from bench.report import figures, page_statements, sizes_figure, statements
from bench.report.build import all_statements
from bench.report.sizes_figure import draw_sizes
from bench.report.sizes_statement import size_statements
from bench.results import pages, shelf

NUM = 5
PARAMETERS = {8: 40_000, 16: 160_000, 32: 640_000}
LATE = (3 + 4) / 2
"""Mean of the generations of the second half."""
Plan = tuple[int, int, int]
"""Channels, steps of generation 0, real items."""
WIDTHS: list[Plan] = [(8, 2000, 512), (16, 2000, 512), (32, 2000, 512)]
COMPUTE: list[Plan] = [(8, 32_000, 512), (16, 8100, 512)]
DATA: list[Plan] = [(32, 2000, 256), (32, 2000, 1024)]
FREE = ("generator.unet.channels", "generator.training.num_steps", "retrain_steps")


def pace(plan: Plan, seed: int) -> float:
    """A wide network and many images go more slowly; the trend of each seed is a little its own."""
    channels, _, items = plan
    doublings = {8: 0, 16: 2, 32: 4}[channels], {256: -1, 512: 0, 1024: 1}[items]
    return 0.5 - (0.05 + 0.001 * seed) * doublings[0] - 0.04 * doublings[1]


def row(plan: Plan, ratio: float, generation: int, seed: int, protocol: bool) -> Row:
    channels, steps, items = plan
    name = {"name": "sizes", "version": 1, "fingerprint": "f"} if protocol else None
    base = fabricate.row(ratio, generation, seed, protocol=name, real=f"{items:064x}")
    own = 1 + pace(plan, seed) * generation * ratio
    scores = [
        {**fabricate.score("fid", (100 + seed) * own), "parameters": {}},
        {**fabricate.score("risk", (0.1 + 0.01 * seed) * own**2, space="model"), "direction": "down", "parameters": {}},
        fabricate.score("coverage", 0.9 - 0.01 * seed - 0.1 * pace(plan, seed) * generation * ratio),
    ]
    generator = {"name": "ddpm", "unet": {"channels": [channels, 2 * channels]}, "training": {"num_steps": steps}}
    config = {
        **base.config,
        "generator": generator,
        "retrain_steps": steps // 10,
        "data": {**base.config["data"], "num_train": items},
        **({"protocol": {**name, "free": {key: [] for key in FREE}}} if name else {}),
    }
    taken = steps // 10 if generation else steps
    return replace(
        base,
        chain=f"{plan}-{ratio}-{seed}",
        scores=scores,
        config=config,
        train={**base.train, "num_parameters": PARAMETERS[channels], "num_steps": taken},
        composition={**base.composition, "num_real": items if not generation else round(items * (1 - ratio))},
    )


def chains(plans: list[Plan], protocol: bool, seeds: tuple[int, ...] = (0, 1, 2)) -> list[Chain]:
    return [
        Chain(f"{plan}-{ratio}-{seed}", Path("nowhere"), [row(plan, ratio, g, seed, protocol) for g in range(NUM)])
        for plan in plans
        for ratio in (0.0, 1.0)
        for seed in seeds
    ]


@pytest.fixture(params=[True, False], ids=["conditions of a protocol", "studies of a sweep"])
def every(request: pytest.FixtureRequest) -> list[Study]:
    return studies(chains([*WIDTHS, *COMPUTE, *DATA], request.param))


def test_what_differs_in_one_size_is_compared_once(every: list[Study]) -> None:
    found = [one for study in every for one in sizes(study, every)]
    assert {one.what: list(one.of) for one in found} == {
        EQUAL_STEPS: [40_000, 160_000, 640_000],
        EQUAL_COMPUTE: [40_000, 160_000, 640_000],
        ITEMS: [256, 512, 1024],
    }
    assert len(found) == 3 and {one.arm for one in found} == {"1.00"}
    steps = {one.what: [size.steps for size in one.of.values()] for one in found}
    assert steps[EQUAL_STEPS] == [(2000, 200)] * 3
    assert steps[EQUAL_COMPUTE] == [(32_000, 3200), (8100, 810), (2000, 200)], "equal to 5 %"


def test_changes_are_those_that_were_planted_in_the_same_seeds(every: list[Study]) -> None:
    for one in (one for study in every for one in sizes(study, every)):
        for size in one.of.values():
            channels = {count: width for width, count in PARAMETERS.items()}[size.parameters]
            for seed in (0, 1, 2):
                speed = pace((channels, 0, size.items), seed)
                risk = ((1 + 3 * speed) ** 2 + (1 + 4 * speed) ** 2) / 2 - 1
                assert size.changes["rise of FID"][seed] == pytest.approx(speed * LATE)
                assert size.changes["rise of risk"][seed] == pytest.approx(risk)
                assert size.changes["loss of coverage"][seed] == pytest.approx(0.1 * speed * LATE)
                assert size.rescaled["rise of FID"][seed] == pytest.approx((100 + seed) * speed * LATE)
                assert size.rescaled["rise of risk"][seed] == pytest.approx((0.1 + 0.01 * seed) * risk)
                kept = 0.9 - 0.01 * seed
                assert size.rescaled["loss of coverage"][seed] == pytest.approx(0.1 * speed * LATE / kept)


def test_the_trend_is_the_mean_slope_for_each_doubling(every: list[Study]) -> None:
    by_what = {one.what: one for study in every for one in sizes(study, every)}
    for what in (EQUAL_STEPS, EQUAL_COMPUTE):
        trend = by_what[what].trends["rise of FID"]
        assert trend.value == pytest.approx(-0.051 * LATE) and trend.high < 0
        assert trend.high - trend.value == pytest.approx(4.302653 * 0.001 * LATE / 3**0.5, rel=1e-6)
        assert trend_words(by_what[what], "rise of FID").endswith("with larger networks FID rises less")
    trend = by_what[ITEMS].trends["rise of FID"]
    assert trend.value == pytest.approx(-0.04 * LATE)
    assert trend_words(by_what[ITEMS], "rise of FID") == (
        "Each doubling changes the rise of FID by -14 points (-14 to -14), in FID itself by -14.1 (-14.5 to -13.8): "
        "with more items FID rises less"
    )


def test_a_trend_that_is_not_established_is_open_and_two_sizes_have_none() -> None:
    (study,) = studies(chains(WIDTHS, protocol=True))
    (found,) = sizes(study, [study])
    flat = replace(found.trends["rise of FID"], value=0.01, low=-0.02, high=0.04)
    assert trend_words(replace(found, trends={"rise of FID": flat}), "rise of FID").endswith("): open")
    worse = replace(flat, low=0.005, high=0.015)
    told = trend_words(replace(found, trends={"rise of FID": worse}), "rise of FID")
    assert told.startswith("Each doubling changes the rise of FID by +1.0 points (+0.5 to +1.5), in FID itself by -")
    assert told.endswith("): relative and absolute change disagree")
    both = replace(found, trends={"rise of FID": worse}, rescaled={"rise of FID": worse})
    assert trend_words(both, "rise of FID").endswith("with larger networks FID rises more")
    both = replace(found, trends={"loss of coverage": worse}, rescaled={"loss of coverage": worse})
    assert trend_words(both, "loss of coverage").endswith("with larger networks more coverage is lost")
    (pair,) = studies(chains(WIDTHS[:2], protocol=True))
    assert sizes(pair, [pair])[0].trends == {}
    (two_seeds,) = studies(chains(WIDTHS, protocol=True, seeds=(0, 1)))
    assert sizes(two_seeds, [two_seeds])[0].trends == {}


def test_labels_leave_out_the_free_values_that_all_conditions_of_a_study_have() -> None:
    few, many = studies(chains([DATA[0]], protocol=True) + chains(WIDTHS, protocol=True))
    assert [c.label for c in few.conditions] == ["0.00", "1.00"]
    assert [c.label for c in many.conditions[:2]] == ["0.00, channels [8, 16]", "0.00, channels [16, 32]"]
    same = next(c for c in many.conditions if "[32, 64]" in c.label and c.ratio == 1.0)
    assert few.conditions[1] == same and len({few.conditions[1], same}) == 1, "one condition, whatever it is called"
    assert few.values(same, 1, few.measures("fid")[0]), "and its scores are found by either name"


def test_where_ratio_0_has_no_coverage_no_share_of_it_is_lost() -> None:
    def without(row: Row) -> Row:
        empty = row.config["generator"]["unet"]["channels"][0] == 8
        return replace(
            row, scores=[{**s, "value": 0.0} if empty and s["metric"] == "coverage" else s for s in row.scores]
        )

    made = [replace(c, rows=[without(row) for row in c.rows]) for c in chains(WIDTHS, protocol=True)]
    (study,) = studies(made)
    (found,) = sizes(study, [study])
    assert "loss of coverage" in found.quantities and "loss of coverage" not in found.rescaled
    assert trend_words(found, "loss of coverage").endswith("): open, because some sizes lack it at ratio 0")


def test_two_free_values_of_one_name_are_not_mixed_up_in_labels() -> None:
    """Planted: 5 sampling steps in all, 50 or 500 training steps; the text of the first begins that of the second."""
    free = {"generator.sampling.num_steps": [], "generator.training.num_steps": []}
    made = []
    for steps in (50, 500):
        for base in chains([(8, steps, 512)], protocol=True, seeds=(0,)):
            generator = {**base.rows[0].config["generator"], "sampling": {"num_steps": 5}}
            config = {**base.rows[0].config, "generator": generator}
            config["protocol"] = {**config["protocol"], "free": free}
            made.append(replace(base, rows=[replace(row, config={**config, "retrain_steps": 5}) for row in base.rows]))
    (study,) = studies(made)
    assert [c.label for c in study.conditions] == [f"{r}.00, num steps {s}" for r in (0, 1) for s in (50, 500)]


def test_compute_is_equal_only_where_that_of_retraining_is_too() -> None:
    (study,) = studies(chains([(32, 2000, 512), (16, 8100, 512)], protocol=True))
    (equal,) = sizes(study, [study])
    assert equal.what == EQUAL_COMPUTE and len(equal.of) == 2
    slower = [
        replace(
            chain,
            rows=[replace(row, train={**row.train, "num_steps": 202}) if row.generation else row for row in chain.rows],
        )
        if chain.rows[0].train["num_steps"] == 8100
        else chain
        for chain in chains([(32, 2000, 512), (16, 8100, 512)], protocol=True)
    ]
    (study,) = studies(slower)
    assert sizes(study, [study]) == [], "a quarter of the compute from generation 1 on"


def test_studies_that_differ_in_more_than_size_are_not_compared() -> None:
    plans = chains([WIDTHS[0]], protocol=False), chains([WIDTHS[1]], protocol=False)
    other = [replace(c, rows=[replace(r, config={**r.config, "warm_start": True}) for r in c.rows]) for c in plans[1]]
    every = studies([*plans[0], *other])
    assert [sizes(study, every) for study in every] == [[], []]
    alone = studies(c for c in plans[0] if c.rows[0].config["mixing"]["synthetic_ratio"] == 1)
    assert sizes(alone[0], alone) == [], "without ratio 0"


def test_arms_of_one_ratio_are_compared_apart() -> None:
    made = chains(WIDTHS, protocol=True)
    full = [chain for chain in made if chain.rows[0].config["mixing"]["synthetic_ratio"] == 1]
    replaced = [
        replace(c, id=f"replace-{c.id}", rows=[
            replace(r, chain=f"replace-{c.id}", policy="replace", config={**r.config, "mixing": {"policy": "replace"}})
            for r in c.rows
        ])
        for c in full
    ]  # fmt: skip
    (study,) = studies([*made, *replaced])
    assert {one.arm: list(one.of) for one in sizes(study, [study])} == {
        "1.00": list(PARAMETERS.values()),
        "replace": list(PARAMETERS.values()),
    }
    assert [one.about for one in size_statements(study, [study])] == [
        "ratio 1.00 against ratio 0",
        "replace against ratio 0",
    ]


def test_reports_and_the_leaderboard_compare_sizes_across_studies(tmp_path: Path) -> None:
    every = studies(chains(DATA[::-1], protocol=True))
    assert [study.rows[0].config["data"]["num_train"] for study in every] == [256, 1024], "in the order of the numbers"
    stated = [one.title for study in every for one in all_statements(study, every)]
    assert stated.count(f"Sizes of {ITEMS}") == 1
    folders = [tmp_path / str(number) for number in range(2)]
    for folder in folders:
        folder.mkdir()
    shown = [pages.draw(study, every, folder, "a") for study, folder in zip(every, folders, strict=True)]
    assert ["sizes" in of for of in shown] == [True, False], "once, with the first study"
    wide = chains(WIDTHS, protocol=True)
    entries = [shelf.Entry(tmp_path, "sizes", "1", "f", "", chain) for chain in wide]
    index = pages.index({("sizes", "1"): entries}, {("sizes", "1"): studies(wide)}, tmp_path)
    most, least = [round(100 * pace(plan, 1) * LATE) for plan in (WIDTHS[0], WIDTHS[2])]
    assert f"| 3 arms of ratio 1.00 | +{least} to +{most} % | diverging |" in index
    (made,) = folders[0].glob("a-sizes.svg")
    assert "real items" in made.read_text()
    drawn = [figures.draw(study, every, folder, "b_") for study, folder in zip(every, folders, strict=True)]
    assert [{path.stem for path in of.sizes} for of in drawn] == [{"b_sizes"}, set()]
    stated_first = [one for one in all_statements(every[0], every) if one.title == f"Sizes of {ITEMS}"]
    assert str(page_statements.statements(0, stated_first, drawn[0])).count("<svg") == 1


def test_the_statement_has_every_size_and_what_the_trend_says(every: list[Study]) -> None:
    found = {one.title: one for study in every for one in size_statements(study, every)}
    assert set(found) == {f"Sizes of {what}" for what in (EQUAL_STEPS, EQUAL_COMPUTE, ITEMS)}
    shown = found[f"Sizes of {EQUAL_STEPS}"]
    assert shown.head == [
        *("parameters", "real items", "steps", "FID, generation 0 → last"),
        *("rise of FID", "rise of risk", "loss of coverage", "verdict", "seeds"),
    ]
    assert shown.rows[0][:5] == ["40 000", "512", "2000 + 200", "101 → 303", "+175 % (+175 to +175)"]
    assert shown.rows[0][6].startswith("+18 points (") and shown.rows[0][-2:] == ["diverging", "3"]
    assert any("Each doubling changes the loss of coverage by -1.79 points (" in line for line in shown.legend)
    table = list(csv.DictReader(io.StringIO(statements.to_csv([(every[0], [shown])]))))
    trend = next(line for line in table if line["quantity"] == "rise of FID, for each doubling")
    assert float(trend["value"]) == pytest.approx(-0.051 * LATE)
    first = next(line for line in table if line["quantity"] == "rise of FID, 40000 parameters")
    assert float(first["value"]) == pytest.approx(0.5 * LATE) and first["num_seeds"] == "3"


def test_the_figure_shows_the_changes_with_their_intervals(
    every: list[Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Figure] = {}
    monkeypatch.setattr(sizes_figure, "save", lambda figure, out, name: drawn.update({name: figure}) or [])
    for study in every:
        draw_sizes(study, every, tmp_path, f"{study.hash}_")
    compared = [one for study in every for one in sizes(study, every)]
    assert len(drawn) == len(compared) == 3
    for one, figure in zip(compared, drawn.values(), strict=True):
        for axis, quantity in zip(figure.axes, one.quantities, strict=True):
            line = axis.containers[0].lines[0]
            assert list(line.get_xdata()) == list(one.of)
            means = [100 * size.change(quantity).value for size in one.of.values()]  # type: ignore[union-attr]
            assert list(line.get_ydata()) == pytest.approx(means)
            assert axis.get_ylabel() == f"{quantity}, {'points' if 'coverage' in quantity else '%'}"
        plt.close(figure)


def test_the_sizes_of_a_protocol_are_conditions_in_the_order_of_their_numbers() -> None:
    (study,) = studies(chains([*WIDTHS[::-1], *COMPUTE], protocol=True))
    assert study.axis == "condition"
    assert [c.label for c in study.conditions][:5] == [
        "0.00, num steps 2000, channels [8, 16], retrain steps 200",
        "0.00, num steps 2000, channels [16, 32], retrain steps 200",
        "0.00, num steps 2000, channels [32, 64], retrain steps 200",
        "0.00, num steps 8100, channels [16, 32], retrain steps 810",
        "0.00, num steps 32000, channels [8, 16], retrain steps 3200",
    ]


def test_sizes_of_different_devices_are_named() -> None:
    made = chains(WIDTHS, protocol=True)
    (study,) = studies(made)
    (plain,) = size_statements(study, [study])
    assert not any("devices" in line for line in plain.legend)
    first = made[0].rows[0].config["generator"]

    def moved(row: Row) -> Row:
        on_gpu = row.config["generator"] == first
        return replace(row, environment={**row.environment, "device": "GPU" if on_gpu else "cpu"})

    (study,) = studies([replace(chain, rows=[moved(row) for row in chain.rows]) for chain in made])
    (stated,) = size_statements(study, [study])
    (line,) = [line for line in stated.legend if "devices" in line]
    assert line.startswith("Sizes were run on different devices (GPU: ") and "; cpu: " in line
