"""Findings as text: a page on one run, a line each on many."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Iterable, Sequence

from rl_abel.inspection.rate_in_words import EVERY_PART, rate_in_words
from rl_abel.inspection.readers.find_runs import Skipped
from rl_abel.inspection.traces import Record, Trace
from rl_abel.inspection.verdict import FEW, WATCHABLE, Bounce, Finding

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = str.maketrans({**dict(zip(BLOCKS, "_.:-=+*#")), "→": "->", "²": "^2", "×": "x", "…": "...", "–": "-", "−": "-"})
"""What stands for our signs on a console that has not got them."""

WIDEST = 110
"""Columns beyond which lines of text are hard to read."""

SOURCES = {
    "run": "a run of the benchmark",
    "csv": "CSV",
    "tensorboard": "TensorBoard",
    "model": "kept by the callback in the saved model",
    "checkpoints": "computed from the weights of checkpoints",
}
BY_BOUNCE = "trend"
"""The rule whose decays are bounces."""

COURSE = "▁ lowest, █ highest"

SHOWN = 12
"""Runs of which the table shows every part; of more the total alone."""

LISTED = 5
"""Timesteps of a long list that are shown, and files that were skipped for one reason."""


def has_signs(encoding: str | None) -> bool:
    """Whether an encoding can write all of our signs."""
    try:
        "".join(map(chr, ASCII)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def page(finding: Finding, width: int) -> str:
    """Return what there is to say of one run.

    :param width: columns of the terminal
    """
    trace = finding.trace
    of = f" (run {trace.of[0]} of {trace.of[1]} in it)" if trace.of[1] > 1 else ""
    lines = [f"{trace.path}{of}", *_wrapped(span(trace), width, "  "), ""]
    lines += [f"  {line}" for line in _norms(finding, width - 2)]
    lines += ["", *(line for name, text in facts(finding) for line in _wrapped(text, width, f"  {name:<13}")), ""]
    lines += [line for text in remarks(finding) for line in _wrapped(text, width, "  ")]
    return "\n".join([*lines, ""])


def span(trace: Trace) -> str:
    """Return how many measurements there are, of when, and from where."""
    n, (first, last) = len(trace.timesteps), (trace.timesteps[0], trace.timesteps[-1])
    steps = f"timestep {first:,}" + (f" to {last:,}" if n > 1 else "")
    return f"{count(n, 'measurement')}, {steps}; {SOURCES[trace.source]}"


def facts(finding: Finding) -> list[tuple[str, str]]:
    """Return what happened in training, and what each rule would have done, each with its name."""
    rules = sorted(finding.decays.items(), reverse=True)
    rate = rate_in_words(finding.trace)
    return [
        ("in training", _training(finding.trace.record)),
        *([("rate", rate)] if rate else []),
        *((f"rule {rule}", _decays(decays, rule)) for rule, decays in rules),
    ]


def remarks(finding: Finding) -> list[str]:
    """Return what to make of it: the verdict first, then why, then notes."""
    texts = [finding.verdict, finding.explanation]
    if finding.every > 1:
        one = f"one measurement of {finding.every}"
        texts.append(f"Note: the rule was shown {one}, as it is calibrated on about 100 a run.")
    return [text for text in texts if text] + [f"Note: {note}." for note in finding.trace.notes]


def _norms(finding: Finding, width: int) -> Iterable[str]:
    """Yield a line for each part: its name, its course, the scale of that, and its ends."""
    rows = [("|w|²", COURSE, "start", "end", "lowest", "highest")]
    for part, norms in finding.trace.norms.items():
        rows.append((part, "", number(norms[0]), number(norms[-1]), *_scale(norms)))
    sizes = [max(map(len, column)) for column in zip(*rows)]
    room = max(8, min(60, width - sum(sizes) + sizes[1] - 2 * (len(sizes) - 1)))
    courses = [COURSE if room >= len(COURSE) else "", *(spark(norms, room) for norms in finding.trace.norms.values())]
    sizes[1] = max(map(len, courses))
    for (name, _, *numbers), course in zip(rows, courses):
        texts = [f"{name:<{sizes[0]}}", f"{course:<{sizes[1]}}"]
        yield "  ".join(texts + [f"{text:>{size}}" for text, size in zip(numbers, sizes[2:])])


def _scale(norms: Sequence[float]) -> tuple[str, str]:
    """Lowest and highest."""
    finite = [norm for norm in norms if math.isfinite(norm)]
    return (number(min(finite)), number(max(finite))) if finite else ("none", "none")


def _training(record: Record | None) -> str:
    if record is None:
        return "not recorded: no log or memory of AbelCallback"
    at = "at" if record.exact else "by"
    bounces = f"{count(record.n_bounces, 'bounce')}{_listed([f'{t:,}' for t in record.bounces], at)}"
    # A log has the factor of what is in neither network: a decay of one network alone is not in it.
    factors = [f"×{d.factor:.3g}" if d.factor < 1 else "one part" for d in record.decays]
    whose = ["" if d.part == EVERY_PART else f", {d.part}" for d in record.decays]
    made = [f"{x} {at} {d.timestep:,} ({d.cause}{of})" for x, of, d in zip(factors, whose, record.decays)]
    decays = f"{count(len(made), 'decay')}: {_cut(made)}" if made else "no decay"
    if not math.isclose(record.factor_of("rest"), record.factor, rel_tol=0.01):
        decays += ", not all in force at the end, as the final one lapses when training goes on"
    return f"{bounces if record.n_bounces else 'no bounce'}; {decays}"


def _decays(decays: Sequence[Bounce], rule: str) -> str:
    if not decays:
        return "would not have decayed"
    parts = [f"{decay.timestep:,} ({' and '.join(decay.parts)})" for decay in decays]
    if all(decay.parts == ("total",) for decay in decays):
        parts = [f"{decay.timestep:,}" for decay in decays]
    remark = "" if rule == BY_BOUNCE else "; it takes noise for bounces"
    return f"would have decayed {count(len(decays), 'time')}{_listed(parts, 'at')}{remark}"


def _listed(texts: Sequence[str], word: str) -> str:
    return f", {word} {_cut(texts)}" if texts else ""


def _cut(texts: Sequence[str]) -> str:
    return ", ".join(texts[:LISTED]) + (", …" if len(texts) > LISTED else "")


def table(findings: Sequence[Finding], rule: str, width: int) -> str:
    """Return a line for each run, in columns; those that do not fit are left out. Of few runs each part has one too."""
    folder = common_folder(findings)
    columns: dict[str, Callable[[Finding], str]] = {
        "n": lambda finding: f"{len(finding.trace.timesteps):,}",
        "to timestep": lambda finding: f"{finding.trace.timesteps[-1]:,}",
        "total |w|²": lambda finding: _course(finding.trace.norms["total"], 12),
        "in training": lambda finding: _short_training(finding),
        f"rule {rule}": lambda finding: _short_rule(finding, rule),
    }
    each_part = len(findings) <= SHOWN
    if each_part:
        del columns["total |w|²"]
    cells = {name: [name, *map(make, findings)] for name, make in columns.items()}
    paths = ["run", *(short_path(finding, folder) for finding in findings)]
    longest = max(map(len, paths))
    for name in (None, "to timestep", "total |w|²"):
        cells.pop(name or "", None)
        room = width - sum(2 + max(map(len, column)) for column in cells.values())
        if room >= min(longest, 24):
            break
    room = max(12, min(room, longest))
    lines = []
    for row, path in enumerate(paths):
        texts = [f"{path if len(path) <= room else '…' + path[1 - room :]:<{room}}"]
        for name, column in cells.items():
            size = max(map(len, column))
            texts.append(f"{column[row]:>{size}}" if name in ("n", "to timestep") else f"{column[row]:<{size}}")
        lines.append("  ".join(texts).rstrip())
        if each_part and row:
            norms = findings[row - 1].trace.norms
            lines += [f"  {part:<{max(map(len, norms))}}  {_course(norms[part], 24)}" for part in norms]
    return "\n".join([*([f"In {folder}:"] if folder else []), *lines, ""])


def _course(norms: Sequence[float], width: int) -> str:
    return f"{spark(norms, width):<{width}} {' to '.join(_scale(norms))}"


def common_folder(findings: Sequence[Finding]) -> str:
    """Return the folder that all runs are in, empty where it would say nothing."""
    paths = [finding.trace.path for finding in findings]
    try:
        folder = os.path.commonpath(paths)
    except ValueError:
        return ""
    return "" if folder in ("", os.sep, *paths) else folder


def short_path(finding: Finding, folder: str) -> str:
    """Return the path of a run from a folder, with its number if there are several."""
    trace = finding.trace
    path = os.path.relpath(trace.path, folder) if folder else trace.path
    return f"{path} {trace.of[0]}/{trace.of[1]}" if trace.of[1] > 1 else path


def _short_training(finding: Finding) -> str:
    record = finding.trace.record
    if record is None:
        return "not recorded"
    led = ", KL-led" if finding.trace.led else ""
    return f"{count(record.n_bounces, 'bounce') if record.n_bounces else 'no bounce'}{led}, ×{record.factor:.3g}"


def _short_rule(finding: Finding, rule: str) -> str:
    if finding.diverged:
        return "diverged"
    if decays := finding.decays[rule]:
        first = f"{'+'.join(decays[0].parts)} at {decays[0].timestep:,}"
        return first + (f" and {len(decays) - 1} more" if len(decays) > 1 else "")
    if not finding.watched:
        return "no such part"
    if finding.measured < finding.needed:
        return "too few"
    return "none seen" + (" (few)" if finding.measured < FEW else "")


def summary(findings: Sequence[Finding], width: int, legend: bool) -> str:
    """Return how many runs bounced, and what the table's signs mean."""
    lines = _wrapped(summed_up(findings), width, "")
    if legend:
        text = f"(few): under {FEW} measurements, on which the rule misses bounces. ×: the"
        lines += _wrapped(f"{text} product of the decays made. --details: a page on each run.", width, "")
    return "\n".join(lines)


def summed_up(findings: Sequence[Finding]) -> str:
    """Return how many runs bounced, in training and by the rule, and of how many that cannot be told."""
    trained = sum(finding.bounced_in_training for finding in findings)
    alone = sum(finding.bounced and not finding.bounced_in_training for finding in findings)
    told = {"in training": trained, f"by the rule {BY_BOUNCE} on the trace alone": alone}
    how = [f"{number} {where}" for where, number in told.items() if number]
    sentences = [f"{trained + alone} of {len(findings)} runs bounced" + (f": {', '.join(how)}." if how else ".")]
    parts = {part: sum(any(part in b.parts for b in finding.bounces) for finding in findings) for part in WATCHABLE}
    if any(parts.values()):
        listed = ", ".join(f"the {part} in {number}" for part, number in parts.items() if number)
        sentences.append(f"The rule sees it in the norm of {listed}.")
    if few := sum(not finding.bounced and not finding.diverged and finding.measured < FEW for finding in findings):
        sentences.append(f"{few} of the rest {'has' if few == 1 else 'have'} few measurements.")
    if diverged := sum(finding.diverged for finding in findings):
        sentences.append(f"{count(diverged, 'run')} diverged.")
    return " ".join(sentences)


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


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    plural = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def number(value: float) -> str:
    """Return four significant digits, without an exponent where one can do without."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def spark(values: Sequence[float], width: int = 60) -> str:
    """Return a line of blocks, lowest to highest, of at most ``width`` characters.

    >>> spark([0, 1, 2, 3, 4, 5, 6, 7])
    '▁▂▃▄▅▆▇█'
    """
    if len(values) > width:
        # First and last are what is printed beside it.
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    step = (high - low) / (len(BLOCKS) - 1) or 1.0
    return "".join(BLOCKS[round((value - low) / step)] if math.isfinite(value) else " " for value in values)


def _wrapped(text: str, width: int, first: str) -> list[str]:
    return textwrap.wrap(
        text,
        min(width, WIDEST),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
