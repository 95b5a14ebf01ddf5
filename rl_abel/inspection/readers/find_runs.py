"""Folders and files -> traces of what holds weight norms, each training once."""

import math
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rl_abel.inspection.readers.csv_table import NORM, Row
from rl_abel.inspection.readers.logs import NO_RUN, ROUTE, csv_traces, event_traces
from rl_abel.inspection.readers.sb3_zip import Saved, is_model, read_saved, runs_of
from rl_abel.inspection.traces import LEADERS, LED, Trace, joined, make_trace

AGREEMENT = 0.5  # share of common norms at which two sources tell of one training
FEWEST = 3  # fewest common norms of a log and saved models of one training: one norm may agree by chance
DIGITS = 5  # significant digits in which logs of one measurement agree: TensorBoard keeps single precision
NOTHING = "no run in it: no TensorBoard events, no CSV with weight norms, no zip of stable-baselines3"


class Skipped(NamedTuple):
    """A file or folder that could not be read, and why."""

    path: str
    reason: str


def read_paths(paths: Sequence[Path]) -> list[Trace | Skipped]:
    """Return the traces of all runs at or below the paths, each once, and what could not be read.

    Files of one folder are read together: a series of checkpoints is one run.
    """
    skipped: list[Skipped] = []
    failures: list[OSError] = []
    folders: dict[Path, list[Path]] = {}
    seen: set[str] = set()
    for path in paths:
        if os.path.isdir(path):
            for folder, subfolders, names in os.walk(path, followlinks=True, onerror=failures.append):
                # A link may lead back to a folder above it.
                subfolders[:] = [name for name in sorted(subfolders) if _is_new(Path(folder, name), seen)]
                folders.setdefault(Path(folder), []).extend(Path(folder, name) for name in sorted(names))
        elif os.path.exists(path):
            folders.setdefault(path.parent, []).append(path)
        else:
            skipped.append(Skipped(str(path), "no such file or folder"))
    skipped += [Skipped(str(error.filename), str(error.strerror)) for error in failures]
    logs: list[Trace] = []
    saved: list[Saved] = []
    for files in folders.values():
        traces, zips, unread = _read_folder([file for file in files if _is_new(file, seen)], paths)
        logs += traces
        saved += zips
        skipped += unread
    models = [result for run in runs_of(saved) for result in _read_models(run)]
    skipped += [result for result in models if isinstance(result, Skipped)]
    runs = merge(logs, [result for result in models if isinstance(result, Trace)], FEWEST)
    if not runs and not skipped:
        skipped = [Skipped(str(path), NOTHING) for path in paths]
    runs.sort(key=lambda trace: trace.path)
    places = [trace.path for trace in runs]
    of = [(places[: index + 1].count(place), places.count(place)) for index, place in enumerate(places)]
    return [*skipped, *(replace(trace, of=number) for trace, number in zip(runs, of))]


def _is_new(path: Path, seen: set[str]) -> bool:
    """Whether a file or folder was not met before, by this name or through a link."""
    known = len(seen)
    seen.add(os.path.realpath(path))
    return len(seen) > known


def _read_folder(files: Sequence[Path], given: Collection[Path]) -> tuple[list[Trace], list[Saved], list[Skipped]]:
    """Read the files of one folder: traces of its logs, its saved models, and what could not be read.

    :param given: of these it is said if they are no logs at all
    """
    traces: list[Trace] = []
    saved: list[Saved] = []
    reasons: dict[Path, str] = {}
    events = [path for path in files if "tfevents" in path.name and os.path.isfile(path)]
    for path in [*events[:1], *(path for path in files if path not in events)]:
        suffix = path.suffix.lower()
        try:
            if path in events:
                traces = merge(traces, event_traces(events))
            elif not os.path.isfile(path):
                # To open a pipe would wait for whoever writes into it.
                reasons[path] = NO_RUN
            elif suffix == ".csv":
                traces = merge(traces, csv_traces(path))
            elif suffix == ".zip" or is_model(path):
                saved.append(read_saved(path))
            else:
                reasons[path] = NO_RUN
        except (OSError, ValueError) as error:
            reasons[path] = " ".join(str(error).split())[:200]
    # A file without norms needs no word beside others that have them.
    named = {NO_RUN: given, ROUTE: () if traces or saved else files}
    skipped = [Skipped(str(path), why) for path, why in reasons.items() if path in named.get(why, files)]
    return traces, saved, skipped


def merge(kept: Sequence[Trace], more: Iterable[Trace], fewest: int = 1) -> list[Trace]:
    """Add traces to those of other sources: one that is of the same training is joined to that of the other source.

    Two traces are of one training if half of the norms of the shorter one are in the longer one.

    :param fewest: least number of norms that they have in common
    """
    merged = list(kept)
    known = [_texts(trace) for trace in kept]
    for trace in more:
        mine = _texts(trace)
        common = [len(mine & other) for other in known]
        shares = [n / min(len(mine), len(other)) if n >= fewest else 0.0 for n, other in zip(common, known)]
        if max(shares, default=0.0) < AGREEMENT:
            merged.append(trace)
        else:
            twin = shares.index(max(shares))
            merged[twin] = _both(merged[twin], trace)
    return merged


def _texts(trace: Trace) -> set[str]:
    return {f"{norm:.{DIGITS}g}" for norm in trace.norms["total"] if math.isfinite(norm)}


def _both(one: Trace, other: Trace) -> Trace:
    best, rest = (other, one) if len(other.timesteps) > len(one.timesteps) else (one, other)
    # A log tells less of a decay than the model does.
    records = [record for record in (other.record, one.record) if record]
    return replace(
        best,
        path=one.path,
        weight_decay=rest.weight_decay if best.weight_decay is None else best.weight_decay,
        skipped=rest.skipped | best.skipped,
        record=max(records, key=lambda record: (record.exact, len(record.decays)), default=None),
        curves=rest.curves | best.curves,
        about=rest.about | best.about,
    )


def _read_models(run: Sequence[Saved]) -> list[Trace | Skipped]:
    """Return the trace of one training from its saved models: as the callback kept it, else from the weights.

    If there is none, return why each of them could not be read.
    """
    where = str(run[0].path) if len(run) == 1 else os.path.commonpath([saved.path.parent for saved in run])
    rows, record = joined([saved.state for saved in run if saved.state])
    sections = {name for saved in run for name in saved.state or {}}
    led = [words for words, (section, *_) in LEADERS.items() if section in sections]
    about = {LED: led[0]} if led else {}
    if rows and _covers(rows, run):
        return [replace(make_trace(where, "model", rows, every_row_new=True), record=record, about=about)]
    # torch takes seconds to load, and only this needs it.
    from rl_abel.inspection.readers.checkpoints import series_norms

    norms, skipped, doubts = series_norms(run)
    if not norms:
        return [Skipped(path, reason) for path, reason in skipped.items()]
    weights = [(timestep, {NORM + part: norm for part, norm in named.items()}) for timestep, named in norms]
    trace = make_trace(where, "checkpoints", weights, every_row_new=True)
    return [replace(trace, record=record, skipped=skipped, about=about, notes=list(doubts))]


def _covers(rows: Sequence[Row], run: Sequence[Saved]) -> bool:
    """Whether the callback has seen as much of a training as its saved models show."""
    first, last = rows[0][0], rows[-1][0]
    gap = 2 * (last - first) / max(1, len(rows) - 1)
    outside = sum(not first - gap <= saved.timestep <= last + gap for saved in run)
    return len(rows) >= len(run) and outside <= 1
