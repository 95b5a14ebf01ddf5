"""Folders and files -> traces: what holds weight norms, told by content, each training once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from rl_abel.inspection.readers.csv_table import NORM, Row, decoded, read_table
from rl_abel.inspection.readers.event_file import VERSION
from rl_abel.inspection.readers.logs import HEAD, TABLES, csv_traces, event_traces
from rl_abel.inspection.readers.sb3_zip import Saved, is_model, read_saved, runs_of
from rl_abel.inspection.traces import KL, LED, Trace, fingerprint, joined, make_trace, overlap

EVENTS = "tfevents"
AGREEMENT = 0.5
"""Share of common norms at which two sources tell of one training."""

COMMON = 3
"""Fewest common norms of a log and a saved model of one training."""

ROUTE = (
    "it holds no weight norms. If you have checkpoints (any zips that SB3 saved), give their folder: "
    "the norms are computed from the weights"
)
NO_RUN = "not a run: give a progress.csv, TensorBoard events, an SB3 zip, or a folder of them"
NOTHING = "no run in it: no TensorBoard events, no CSV with weight norms, no zip of stable-baselines3"


class Skipped(NamedTuple):
    """A file or folder that could not be read, and why."""

    path: str
    reason: str


Result = Trace | Skipped


def read_path(path: Path) -> list[Result]:
    """Return the trace of every run at or below a path, and what could not be read."""
    return read_paths([path])


def read_paths(paths: Iterable[Path]) -> list[Result]:
    """Return the traces of all runs at or below the paths, each once, and what could not be read.

    Files given by name that are in one folder are read together: a series of checkpoints is one run.
    """
    results: list[Result] = []
    seen: set[tuple[int, int]] = set()
    named: dict[Path, list[str]] = {}
    for path in paths:
        if os.path.isdir(path):
            results += _read_below(path, seen)
        elif os.path.exists(path):
            named.setdefault(path.parent, []).append(path.name)
        else:
            results.append(Skipped(str(path), "no such file or folder"))
    for folder, names in named.items():
        results += _read_named(folder, names, seen)
    return results


def _read_below(top: Path, seen: set[tuple[int, int]]) -> list[Result]:
    results: list[Result] = []
    saved: list[Saved] = []
    logs: dict[str, list[Trace]] = {}
    failures: list[OSError] = []
    known = bool(seen)
    for folder, subfolders, files in os.walk(top, followlinks=True, onerror=failures.append):
        subfolders[:] = [name for name in sorted(subfolders) if _first_time(Path(folder, name), seen)]
        kinds = {name: kind for name in sorted(files) if (kind := _kind(Path(folder, name)))}
        kinds = {name: kind for name, kind in kinds.items() if _first_time(Path(folder, name), seen)}
        traces, zips, skipped = _read_folder(Path(folder), kinds)
        logs[folder] = traces
        saved += zips
        results += skipped
    results += [Skipped(str(error.filename), str(error.strerror)) for error in failures]
    results += _finish(logs, saved)
    return results or ([] if known else [Skipped(str(top), NOTHING)])


def _read_named(folder: Path, names: Sequence[str], seen: set[tuple[int, int]]) -> list[Result]:
    kinds = {name: _kind_by_content(folder / name) for name in names if _first_time(folder / name, seen)}
    results: list[Result] = [Skipped(str(folder / name), NO_RUN) for name, kind in kinds.items() if not kind]
    traces, zips, skipped = _read_folder(folder, {name: kind for name, kind in kinds.items() if kind}, named=True)
    return [*skipped, *results, *_finish({str(folder): traces}, zips)]


def _kind(path: Path) -> str:
    """Tell what a file may be: by its name, or as SB3 has saved a model there by a name of the user's."""
    # To open a pipe would wait for whoever writes into it.
    if not os.path.isfile(path):
        return "" if os.path.exists(path) else _kind_by_name(path.name)
    return _kind_by_name(path.name) or ("zip" if is_model(path) else "")


def _first_time(path: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a file or folder was not met before, by this name or through a link."""
    try:
        status = path.stat()
    except OSError:
        # It is for whoever opens it to say what is wrong.
        return not path.is_symlink()
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True


def _kind_by_name(name: str) -> str:
    lower = name.lower()
    if EVENTS in lower:
        return "events"
    return next((kind for kind in ("zip", "csv") if lower.endswith(f".{kind}")), "")


def _kind_by_content(path: Path) -> str:
    if not os.path.isfile(path):
        return ""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return _kind_by_name(path.name) or "csv"
    if head.startswith(b"PK") or path.suffix.lower() == ".zip":
        return "zip"
    if VERSION in head[:64] or EVENTS in path.name.lower():
        return "events"
    return "csv" if path.suffix.lower() == ".csv" or read_table(decoded(head)).has_clock else ""


def _read_folder(
    folder: Path, kinds: dict[str, str], named: bool = False
) -> tuple[list[Trace], list[Saved], list[Skipped]]:
    """Read the files of one folder: traces of its logs, its models, and what could not be read."""
    sources: list[list[Trace]] = []
    saved: list[Saved] = []
    skipped: list[Skipped] = []
    without: list[str] = []
    of_kind = {wanted: [name for name, kind in kinds.items() if kind == wanted] for wanted in ("csv", "events", "zip")}
    for name in sorted(of_kind["csv"], key=lambda name: (name not in TABLES[1:], name)):
        try:
            source = csv_traces(folder / name, folder / name if named or name not in TABLES else folder)
        except (OSError, ValueError) as error:
            skipped.append(Skipped(str(folder / name), " ".join(str(error).split())[:200]))
            continue
        sources.append(source or [])
        if source == [] or (source is None and named):
            without.append(name)
    if of_kind["events"]:
        paths = [folder / name for name in of_kind["events"]]
        source, lost = event_traces(paths, paths[0] if named and len(paths) == 1 else folder)
        sources.append(source)
        without += of_kind["events"] if not source else []
        skipped += [Skipped(*item) for item in lost.items()]
    for name in of_kind["zip"]:
        try:
            saved.append(read_saved(folder / name))
        except ValueError as error:
            skipped.append(Skipped(str(folder / name), str(error)))
    traces = merge(sources)
    if without and not traces and not saved:
        skipped.append(Skipped(str(folder / without[0] if named else folder), ROUTE))
    return traces, saved, skipped


def merge(sources: Iterable[Sequence[Trace]]) -> list[Trace]:
    """Return each training once: of several sources that tell of it the one with most measurements."""
    kept: list[Trace] = []
    for source in sources:
        prints = [fingerprint(trace) for trace in kept]
        for trace in source:
            mine = fingerprint(trace)
            shares = [overlap(mine, other) for other in prints]
            if shares and max(shares) >= AGREEMENT:
                twin = shares.index(max(shares))
                kept[twin] = _both(kept[twin], trace)
            else:
                kept.append(trace)
    return kept


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


def _finish(logs: dict[str, list[Trace]], saved: Sequence[Saved]) -> list[Result]:
    """Add the traces of saved models to those of logs, wherever these are, and number the runs of each path."""
    skipped: list[Skipped] = []
    traces = [trace for folder in sorted(logs) for trace in logs[folder]]
    prints = [fingerprint(trace) for trace in traces]
    holders: dict[str, list[int]] = {}
    for index, norms in enumerate(prints):
        for norm in norms:
            holders.setdefault(norm, []).append(index)
    for run in runs_of(saved):
        found = _model_trace(run)
        if isinstance(found, list):
            skipped += found
            continue
        mine = fingerprint(found)
        common = Counter(index for norm in mine for index in holders.get(norm, ()))
        # Of few norms some may agree by chance: equal networks begin with equal norms.
        twins = [i for i, n in common.items() if n >= COMMON and overlap(mine, prints[i]) >= AGREEMENT]
        if twins and found.source == "model":
            twin = max(sorted(twins), key=lambda index: _shared_folders(traces[index].path, found.path))
            traces[twin] = _both(traces[twin], found)
        else:
            traces.append(found)
    return [*skipped, *_numbered(sorted(traces, key=lambda trace: trace.path))]


def _shared_folders(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(Path(one).parts, Path(other).parts)))


def _numbered(traces: Sequence[Trace]) -> Iterator[Trace]:
    count: dict[str, int] = {}
    paths = [trace.path for trace in traces]
    for trace in traces:
        count[trace.path] = count.get(trace.path, 0) + 1
        yield replace(trace, of=(count[trace.path], paths.count(trace.path)))


def _model_trace(run: Sequence[Saved]) -> Trace | list[Skipped]:
    """Return the trace of one training from its saved models: as the callback kept it, else from the weights."""
    parents = [str(saved.path.parent) for saved in run]
    where = str(run[0].path) if len(run) == 1 else os.path.commonpath(parents)
    rows, record, bad = joined([saved.state for saved in run if saved.state])
    about = {LED: KL} if any("kl" in (saved.state or {}) for saved in run) else {}
    if rows and _covers(rows, run):
        trace = make_trace(where, "model", rows, every_row_new=True)
        if bad:
            trace.skipped[where] = f"{bad} measurement{'s' * (bad > 1)} of the callback could not be read"
        return replace(trace, record=record, about=about)
    # torch takes seconds to load, and only this needs it.
    from rl_abel.inspection.readers.checkpoints import series_norms

    norms, skipped, doubts = series_norms(run)
    if not norms:
        return [Skipped(path, reason) for path, reason in skipped.items()]
    weights = [(timestep, {NORM + part: norm for part, norm in named.items()}) for timestep, named in norms]
    trace = make_trace(where, "checkpoints", weights, every_row_new=True)
    trace.notes.extend(doubts)
    return replace(trace, record=record, skipped=skipped, about=about)


def _covers(rows: Sequence[Row], run: Sequence[Saved]) -> bool:
    """Whether the callback has seen as much of a training as its saved models show."""
    first, last = rows[0][0], rows[-1][0]
    gap = 2 * (last - first) / max(1, len(rows) - 1)
    outside = sum(not first - gap <= saved.timestep <= last + gap for saved in run)
    return len(rows) >= len(run) and outside <= 1
