"""Citations of reference results: one sentence with number, interval, protocol and version, and BibTeX."""

import math
from collections.abc import Sequence
from contextlib import suppress

from bench.analysis.collapse import FEWEST_SEEDS, Growth
from bench.analysis.conditions import Condition
from bench.analysis.measures import metric_name
from bench.analysis.provenance import hardware, package_version, revisions
from bench.analysis.ranking import rankings
from bench.analysis.setting import data_of, protocol_of
from bench.analysis.study import Study, studies
from bench.analysis.verdicts import critical, growth, judged_score, percent, reference_of, verdict
from bench.errors import LedgerError
from bench.ledger import Row
from bench.report.citing import bibtex
from bench.report.ranking_figure import with_unit
from bench.report.ranking_statement import differences_told
from bench.report.tables import escape
from bench.results.shelf import Entry

PACKAGE = "diffusion-collapse-bench"


def titled(entry: Entry) -> str:
    """Return the title of a study: `collapse_mini_v1 version 1`, or `vae16 version 3fa2b1c4, no protocol`."""
    protocol = protocol_of(entry.chain.rows[0])
    named = f"{entry.name} version {entry.version}"
    return named if protocol == named else f"{named}, {protocol}"


def sentence(entries: Sequence[Entry], label: str | None = None) -> str:
    """Return a citable sentence about one condition of a study.

    Args:
        entries: All measured entries of the study.
        label: The label of the condition. If several studies have this condition, the label begins with the part of
            the title that distinguishes its study, in brackets. None selects the condition of the highest synthetic
            ratio in the study with the most conditions. A number stands for the ratio, such as 0.5 for `0.50`.

    Raises:
        LedgerError: there is no such condition; there are several, or with None several of this kind; or the data do
            not suffice for a verdict on it.
    """
    every = studies(entry.chain for entry in entries)
    study, condition = _chosen(every, label)
    own, beside = rows_of(study, condition), reference_of(study, condition)
    devices = "; ".join(hardware(own))
    if beside and hardware(rows_of(study, beside)) != hardware(own):
        devices += f", ratio 0 on {'; '.join(hardware(rows_of(study, beside)))}"
    if beside and not _share_a_start(study, condition, beside):
        devices += ", without a common generation 0"
    found, score = growth(study, condition), judged_score(study)
    if found is None or score is None:
        raise LedgerError(f"{titled(entries[0])}: {condition.label} has no verdict to cite")
    plain_ratio = condition.ratio is not None and condition.label == f"{condition.ratio:.2f}"
    what = f"synthetic ratio {condition.label}" if plain_ratio else f"“{condition.label}”"
    last = found.num_generations - 1
    where = f"generation {last}" if found.first == last else f"generations {found.first} to {last}"
    against = "the same seeds at ratio 0" if found.paired else "its own generation 0"
    passes = critical(study) if plain_ratio else None
    also = ""
    if passes is not None and passes.ratio is not None:
        also = f"; over all ratios, the rise passes 10 % at {passes.ratio:.2f} ({passes.low:.2f} to {passes.high:.2f})"
    what_rises = f"{metric_name(score.metric)} ({score.feature_space}, {score.sizes})"
    seeds = f"{found.num_seeds} seed{'s' if found.num_seeds > 1 else ''}"
    row, judged = study.rows[0], verdict(study, condition)
    data = data_of(row) + (f", {apart(study)}" if len(every) > 1 else "")
    return (
        f"In {titled(entries[0])} ({row.generator} on {data}, {seeds}, {last + 1} generations, run on "
        f"{devices}), the verdict on {what} is “{judged.badge}”: its {what_rises} "
        f"in {where} differs from that of {against} by {_with_interval(found, seeds)}{also}"
        f"{_beside_baseline(study, condition)} ({PACKAGE} {package_version()}, measured with revision "
        f"{', '.join(revisions(own))}, fingerprint {entries[0].fingerprint[:16]})."
    )


def _share_a_start(study: Study, condition: Condition, other: Condition) -> bool:
    """Return whether no seed of two conditions has different samples of generation 0, as far as checksums tell. Rules
    that change them are no reason to doubt it."""
    if any(condition.changes_generation_0(chain.rows[0]) for chain in study.chains[condition].values()):
        return True
    starts = [
        {s: chain.rows[0].checksums.get("sample") for s, chain in study.chains[c].items()} for c in (condition, other)
    ]
    return all(starts[0][seed] == starts[1][seed] for seed in starts[0].keys() & starts[1].keys())


def _beside_baseline(study: Study, condition: Condition) -> str:
    """Return the differences of an arm to its baseline, as the ranking states them; "" if it is in no ranking."""
    for found in rankings(study):
        for arm in found.arms:
            if arm.condition == condition and arm.differences:
                last = min(study.last_of(condition), study.last_of(found.baseline))
                told = ", ".join(f"{name} {words}" for name, words in differences_told(found, arm).items())
                baseline = with_unit(found.baseline.label)
                return f"; minus its baseline ({baseline}, same seeds, generation {last}, 95 % intervals): {told}"
    return ""


def _with_interval(found: Growth, seeds: str) -> str:
    """Return e.g. `+46 % (95 % interval over seeds: +40 to +52)`."""
    if not math.isfinite(found.rise.high):
        return f"{percent(found.rise)} (no interval: {seeds} of {found.num_generations} generations)"
    over = "over seeds" if found.num_seeds >= FEWEST_SEEDS else "from the scatter within chains"
    return percent(found.rise).replace("(", f"(95 % interval {over}: ")


def apart(study: Study) -> str:
    """Return the part in brackets of a study's title, which distinguishes it from others: `data.num_train=256`."""
    return study.title.partition("(")[2].removesuffix(")")


def rows_of(study: Study, condition: Condition) -> list[Row]:
    return [row for chain in study.chains[condition].values() for row in chain.rows]


def _chosen(every: Sequence[Study], label: str | None) -> tuple[Study, Condition]:
    """Return the condition with this label, and its study. Raise `LedgerError` if there is none, or several."""
    if label is None:
        most = max(len(one.conditions) for one in every)
        largest = [one for one in every if len(one.conditions) == most]
        plain = [(study, c) for study in largest for c in study.conditions if c.ratio is not None and c.is_plain]
        pairs = plain or [(study, c) for study in largest for c in study.conditions]
        highest = max(condition.ratio or 0.0 for _, condition in pairs)
        chosen, *others = [pair for pair in pairs if (pair[1].ratio or 0.0) == highest]
        if others:
            known = ", ".join(_named(every))
            raise LedgerError(f"several conditions are alike, so --condition is needed; there are: {known}")
        return chosen
    named = {pair: name for name, pair in _named(every).items()}
    found = [pair for pair, name in named.items() if label in (name, pair[1].label) or _is_ratio(label, pair[1])]
    if len(found) == 1:
        return found[0]
    known = ", ".join(name for pair, name in named.items() if pair in found or not found)
    raise LedgerError(f"there {'are several conditions' if found else 'is no condition'} {label!r}; there are: {known}")


def _is_ratio(label: str, condition: Condition) -> bool:
    """Return whether a label is the number of a condition that its ratio alone describes."""
    with suppress(ValueError):
        return condition.label == f"{condition.ratio or 0:.2f}" and condition.ratio == float(label)
    return False


def label_among(every: Sequence[Study], study: Study, condition: Condition) -> str:
    """Return a condition's label. With several studies, it begins with the part that distinguishes its own."""
    return f"({apart(study)}) {condition.label}" if len(every) > 1 else condition.label


def _named(every: Sequence[Study]) -> dict[str, tuple[Study, Condition]]:
    """Return label -> (study, condition)."""
    return {label_among(every, study, c): (study, c) for study in every for c in study.conditions}


def has_default(every: Sequence[Study]) -> bool:
    """Return whether `sentence` chooses a condition if none is given. every: The studies of all measured entries."""
    try:
        _chosen(every, None)
    except LedgerError:
        return False
    return True


def labels(every: Sequence[Study]) -> list[str]:
    """Return the labels that `sentence` accepts. every: The studies of all measured entries."""
    return list(_named(every))


def references(entries: Sequence[Entry]) -> str:
    """Return BibTeX of the results themselves, then of the benchmark and of every cited component of their runs."""
    first = entries[0]
    seeds = {entry.chain.rows[0].seed for entry in entries}
    counted = f"{len(entries)} chains of {len(seeds)} seed{'s' * (len(seeds) > 1)}"
    year = max(row.finished_at for entry in entries for row in entry.chain.rows)[:4]
    own = f"""@misc{{{first.name}_{first.version},
  title  = {{Reference results of {escape(titled(first))}}},
  author = {{{{The diffusion-collapse-bench authors}}}},
  year   = {{{year}}},
  note   = {{{counted}, in {PACKAGE}; fingerprint {first.fingerprint[:16]}}},
}}"""
    return f"{own}\n\n{bibtex(studies(entry.chain for entry in entries))}"
