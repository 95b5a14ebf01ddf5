"""Findings as text: a page on one run, and what is said beside the table of many."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from textwrap import TextWrapper

from rl_abel.inspection.readers.find_runs import Skipped
from rl_abel.inspection.table import column, lines
from rl_abel.inspection.traces import Record, Trace
from rl_abel.inspection.verdict import BOUNCED, FEW, Bounce, Finding
from rl_abel.inspection.words import count, rate_in_words, spark

WIDEST = 110  # columns beyond which lines of text are hard to read
LISTED = 5  # timesteps of a long list that are shown, and files that were skipped for one reason
LEGEND = f"(few): under {FEW} measurements, on which the rule misses bounces. --details: a page on each run."


def page(finding: Finding, width: int) -> str:
    """Return what there is to say of one run, for a terminal of this width."""
    trace, (number, of) = finding.trace, finding.trace.of
    head = f"{trace.path} (run {number} of {of} in it)" if of > 1 else trace.path
    about = [wrapped(text, width, f"  {name:<13}") for name, text in facts(finding)]
    said = [wrapped(text, width, "  ") for text in remarks(finding)]
    return "\n".join([head, wrapped(span(trace), width, "  "), "", *_norms(trace, width), "", *about, "", *said, ""])


def wrapped(text: str, width: int, first: str = "") -> str:
    """Return a text in lines, indented by what its first line begins with."""
    whole = TextWrapper(min(width, WIDEST), first, " " * len(first), break_long_words=False, break_on_hyphens=False)
    return whole.fill(text)


def _norms(trace: Trace, width: int) -> list[str]:
    """Return a line for each part: its name, its ends and extremes, its course."""
    norms = list(trace.norms.values())
    finite = [[norm for norm in part if math.isfinite(norm)] or [math.nan] for part in norms]
    ends = {"start": [part[0] for part in norms], "end": [part[-1] for part in norms]}
    ends |= {"lowest ▁": [min(part) for part in finite], "highest █": [max(part) for part in finite]}
    rows = lines([column("|w|²", list(trace.norms)), *(column(name, values) for name, values in ends.items())])
    room = max(8, min(60, width - len(rows[0]) - 4))
    return [f"  {row}  {course}".rstrip() for row, course in zip(rows, ["", *(spark(part, room) for part in norms)])]


def span(trace: Trace) -> str:
    """Return how many measurements there are, of when, and from where."""
    first, last = trace.timesteps[0], trace.timesteps[-1]
    steps = f"timestep {first:,}" + (f" to {last:,}" if last > first else "")
    return f"{count(len(trace.timesteps), 'measurement')}, {steps}, read from {trace.source}"


def facts(finding: Finding) -> list[tuple[str, str]]:
    """Return what happened in training, and what each rule would have done, each with its name."""
    rules = [(f"rule {rule}", _decays(rule, decays)) for rule, decays in finding.decays.items()]
    rate = rate_in_words(finding.trace)
    return [("in training", _training(finding.trace.record)), *[("rate", rate)] * bool(rate), *rules]


def remarks(finding: Finding) -> list[str]:
    """Return what to make of it: the verdict first, then why, then notes."""
    thinned = f"the rule was shown one measurement of {finding.every}, as it is calibrated on about 100 a run"
    notes = [f"Note: {note}." for note in [*[thinned] * (finding.every > 1), *finding.trace.notes]]
    return [text for text in (finding.verdict, finding.explanation, *notes) if text]


def _training(record: Record | None) -> str:
    if record is None:
        return "not recorded: no log or memory of AbelCallback"
    at, made = "at" if record.exact else "by", []
    for timestep, cause, factor, part in record.decays:
        # A log has the factor of what is in neither network: a decay of one network alone is not in it.
        what = f"×{factor:.3g}" if factor < 1 else "one part"
        made.append(f"{what} {at} {timestep:,} ({cause if part == 'total' else f'{cause}, {part}'})")
    bounces = count(record.n_bounces, "bounce") if record.n_bounces else "no bounce"
    bounces += _listed(f", {at} ", [f"{timestep:,}" for timestep in record.bounces])
    decays = count(len(made), "decay") + _listed(": ", made) if made else "no decay"
    if not math.isclose(record.factor_of("rest"), record.factor, rel_tol=0.01):
        decays += ", not all in force at the end, as the final one lapses when training goes on"
    return f"{bounces}; {decays}"


def _decays(rule: str, decays: Sequence[Bounce]) -> str:
    if not decays:
        return "would not have decayed"
    alone = all(decay.parts == ("total",) for decay in decays)
    texts = [f"{decay.timestep:,}" + ("" if alone else f" ({' and '.join(decay.parts)})") for decay in decays]
    said = f"would have decayed {count(len(decays), 'time')}" + _listed(", at ", texts)
    return f"{said}; it takes noise for bounces" if rule == "paper" else said


def _listed(begin: str, texts: Sequence[str]) -> str:
    return begin + ", ".join([*texts[:LISTED], *["…"] * (len(texts) > LISTED)]) if texts else ""


def summary(findings: Sequence[Finding]) -> str:
    """Return how many runs bounced, and what the runs came to."""
    states = Counter(finding.state for finding in findings)
    told = "; ".join(f"{state}: {n}" for state, n in states.most_common())
    return f"{sum(states[state] for state in BOUNCED)} of {len(findings)} runs bounced. {told[:1].upper()}{told[1:]}."


def complaints(skipped: Iterable[Skipped]) -> Iterable[str]:
    """Yield a line for each file that was skipped; of many that were for one reason the first few, and how many."""
    for reason, paths in by_reason(skipped).items():
        yield from (f"skipped {path}: {reason}" for path in paths[:LISTED])
        if len(paths) > LISTED:
            yield f"skipped {count(len(paths) - LISTED, 'other')}: {reason}"


def by_reason(skipped: Iterable[Skipped]) -> dict[str, list[str]]:
    """Return the paths of each reason."""
    found: dict[str, list[str]] = {}
    for path, reason in skipped:
        found.setdefault(reason, []).append(path)
    return found
