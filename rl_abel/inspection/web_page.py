"""All runs as one page that needs nothing else: a table that sorts, and the charts of each run."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rl_abel import __version__
from rl_abel.inspection import table, text
from rl_abel.inspection.readers.csv_table import CURVES
from rl_abel.inspection.readers.find_runs import Skipped
from rl_abel.inspection.verdict import BOUNCED, FEW, Finding

POINTS = 200  # of a line: more cannot be seen, and a thousand runs have to fit into a page
# Of the parts and of decays, as in all pictures of the project.
COLORS = {"total": "#111111", "policy": "#9467bd", "value": "#17becf", "shared": "#bcbd22", "log_std": "#7f7f7f"}
DECAY = "#d62728"


def write_page(findings: Sequence[Finding], skipped: Iterable[Skipped], rule: str, settings: str, path: Path) -> None:
    """Write the page of all runs.

    :param rule: whose decays are marked on the norms
    :param settings: what was asked, in words
    :raises OSError: if the file cannot be written
    """
    loader = PackageLoader("rl_abel.inspection", "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    page = environment.get_template("web_page.html").render(
        findings=findings,
        columns=table.columns(findings, rule),
        folder=table.common_folder(findings),
        skipped=text.by_reason(skipped),
        alarming=("diverged", *BOUNCED),
        few=FEW,
        settings=settings,
        version=__version__,
        style={"parts": COLORS, "decay": DECAY, "rule": rule},
        of=text,
        chart_data=chart_data,
    )
    # Names of files may hold what no encoding can write.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def chart_data(finding: Finding) -> dict[str, Any]:
    """Return what the charts of a run draw: at most about ``POINTS`` points of a line, null where it has a gap."""
    trace, record = finding.trace, finding.trace.record
    made = [(d.timestep, f"×{d.factor:.3g} ({d.cause})", d.cause, ()) for d in (record.decays if record else ())]
    marks: list[dict[str, Any]] = [{"name": "in training", "at": made}] if record else []
    for rule, decays in finding.decays.items():
        at = [(decay.timestep, " and ".join(decay.parts), rule, decay.parts) for decay in decays]
        marks.append({"name": f"rule {rule}", "at": at})
    marked = {decay.timestep for decays in finding.decays.values() for decay in decays}
    kept = thinned([*trace.norms.values()], {i for i, timestep in enumerate(trace.timesteps) if timestep in marked})
    curves = {name: list(zip(*trace.curves[name])) for name in CURVES.values() if name in trace.curves}
    places = {name: thinned([values]) for name, (_, values) in curves.items()}
    starts = {part: next((n for n in norms if math.isfinite(n) and n > 0), 1.0) for part, norms in trace.norms.items()}
    return {
        "timesteps": [trace.timesteps[index] for index in kept],
        "norms": {part: _picked([n / starts[part] for n in norms], kept) for part, norms in trace.norms.items()},
        "terms": {name: _picked(values, kept) for name, values in trace.terms.items()},
        "marks": marks,
        "curves": [
            {"name": name, "t": [clock[i] for i in places[name]], "v": _picked(values, places[name])}
            for name, (clock, values) in curves.items()
        ],
    }


def thinned(columns: Sequence[Sequence[float]], marked: Iterable[int] = (), most: int = POINTS) -> list[int]:
    """Return the places to draw, equally far apart, with the marked ones and the extremes of each column.

    >>> thinned([[3.0, 1.0, 2.0, 9.0, 4.0, 5.0]], most=2)
    [0, 1, 3, 5]
    """
    n = len(columns[0])
    kept = {round(i * (n - 1) / (most - 1)) for i in range(most)} | set(marked)
    for column in columns:
        if finite := [index for index in range(n) if math.isfinite(column[index])]:
            kept |= {min(finite, key=column.__getitem__), max(finite, key=column.__getitem__)}
    return sorted(kept)


def _picked(values: Sequence[float], kept: Iterable[int]) -> list[float | None]:
    # Five digits are more than can be seen.
    return [float(f"{values[i]:.5g}") if math.isfinite(values[i]) else None for i in kept]
