"""The traces as a picture: a panel a run, with every part, its bounces, and the decays that were made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_abel.inspection.traces import Trace
from rl_abel.inspection.verdict import Finding

PANELS = 12
COLORS = {"total": "#111111", "policy": "#9467bd", "value": "#17becf", "shared": "#bcbd22", "log_std": "#7f7f7f"}
"""The parts, as in all pictures of the project."""

DECAY = "#d62728"


def plot(findings: Sequence[Finding], rule: str, path: Path) -> None:
    """Draw the first runs, each part over its start, into a picture file.

    :param rule: the one whose decays are marked
    :raises ImportError: without matplotlib
    :raises OSError, ValueError: if the file cannot be written, or not in this format
    """
    from matplotlib.figure import Figure

    shown = findings[:PANELS]
    columns = min(len(shown), 3)
    rows = math.ceil(len(shown) / columns)
    size = (8.0, 4.5) if len(shown) == 1 else (4.6 * columns, 3.2 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    handles: dict[str, Any] = {}
    for panel, finding in zip(axes, shown):
        _draw(panel, finding, rule, handles)
    for panel in axes[len(shown) :]:
        panel.axis("off")
    figure.supxlabel("timesteps", fontsize=10)
    figure.supylabel("|w|² over its start", fontsize=10)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)


def _draw(panel: Any, finding: Finding, rule: str, handles: dict[str, Any]) -> None:
    trace = finding.trace
    scaled = {part: over_start(norms) for part, norms in trace.norms.items()}
    for part, norms in scaled.items():
        style = {"color": COLORS.get(part), "lw": 1.8 if part == "total" else 1.2}
        handles[part] = panel.plot(trace.timesteps, norms, label=part, **style)[0]
    for timestep, parts in finding.decays[rule]:
        index = trace.timesteps.index(timestep)
        at = [scaled[part][index] for part in parts]
        (mark,) = panel.plot([timestep] * len(at), at, "v", color=DECAY, mec="black", ms=8, ls="none")
        handles[f"{rule} would decay"] = mark
    for decay in trace.record.decays if trace.record else []:
        line = {"bounce": "-", "final": "--"}.get(decay.cause, ":")
        handles[f"decayed ({decay.cause})"] = panel.axvline(decay.timestep, color=DECAY, lw=1, ls=line)
    # A name with dollars in it is no formula.
    panel.set_title(_title(trace), fontsize=9, parse_math=False)
    panel.tick_params(labelsize=8)
    if max(max(norms, default=1.0) for norms in scaled.values()) > 20:
        panel.set_yscale("log")


def _title(trace: Trace) -> str:
    name = trace.path[-44:] + (f" {trace.of[0]}/{trace.of[1]}" if trace.of[1] > 1 else "")
    return name.encode("utf-8", "replace").decode()


def over_start(norms: Sequence[float]) -> list[float]:
    """Norms over the first that is above 0."""
    start = next((norm for norm in norms if math.isfinite(norm) and norm > 0), 1.0)
    return [norm / start for norm in norms]
