"""The page of the positive control: docs/results/control.md, from the two saved tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.control import plan
from benchmarks.control.answers import COMPLEX, EQUAL, SHALLOW, Answers, Movement, answer, verdict
from benchmarks.control.figures import draw
from benchmarks.control.plan import EPOCHS, FINAL_DECAY_AT, LAYERS, TWICE, WITH_FACTORS, Setting
from benchmarks.control.words import bouncing, gains, label, moved, pattern, points, showcase
from benchmarks.report.words import Grid, number, percent, templates

RUNS, TRACES, PAGE = "control_runs.parquet", "control_traces.parquet", "control.md"


def write_report(folder: Path) -> Path:
    """Write page and figures beside the tables in ``folder``; return the page."""
    runs, traces = pd.read_parquet(folder / RUNS), pd.read_parquet(folder / TRACES)
    answers = answer(runs, traces)
    draw(answers, folder)
    page = folder / PAGE
    page.write_text(render(answers, runs), encoding="utf-8")
    return page


def render(answers: Answers, runs: pd.DataFrame) -> str:
    """Return the text of the page."""
    environment = templates("benchmarks.control")
    environment.filters.update(points=points, label=label, verdict=verdict)
    return environment.get_template(f"{PAGE}.j2").render(context(answers, runs))


def context(answers: Answers, runs: pd.DataFrame) -> dict[str, Any]:
    """Return what the template fills in."""
    tuning = runs["seed"].isin(plan.TUNING_SEEDS)
    setting = showcase(answers)
    elsewhere = [verdict(gain) for gain in gains(answers, bouncing(answers, False)).values()]
    return {
        "plan": plan,
        "runs": int((~tuning).sum()),
        "seeds": runs.loc[~tuning, "seed"].nunique(),
        "tuning_runs": int(tuning.sum()),
        "tuning_seeds": runs.loc[tuning, "seed"].nunique(),
        "final_epoch": FINAL_DECAY_AT * EPOCHS,
        "shallow": SHALLOW,
        "equal": EQUAL,
        "showcase": setting,
        "bounce": moved(answers, [setting]),
        "without": moved(answers, [s for s in answers.settings if not s[0]]),
        "gains": {arm: gain for (_, arm), gain in gains(answers, [setting]).items()},
        "low": {arm: gain for (_, arm), gain in gains(answers, [setting], over_factor=TWICE).items()},
        "others": {
            other: {arm: gain for (_, arm), gain in gains(answers, [other]).items()}
            for other in bouncing(answers)
            if other != setting
        },
        "elsewhere": {word: elsewhere.count(word) for word in ("better", "worse", "same")} | {"all": len(elsewhere)},
        "pattern": pattern(answers),
        "grids": {
            "norms": _norms(answers),
            "decays": _decays(answers),
            "layers": _layers(answers),
            "places": _places(answers),
            "accuracies": Grid(
                ("setting", *plan.ARMS),
                [(label(s), *(points(answers.mean(s, arm)) for arm in plan.ARMS)) for s in answers.compared],
            ),
            "gains": _gains(answers),
            "factors": _factors(answers),
        },
    }


def median_and_range(values: Sequence[float], digits: int = 0) -> str:
    """Return "34 (30 to 39)"; "–" for no values."""
    if not values:
        return "–"
    middle, low, high = (number(float(v), digits) for v in (np.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _of(answers: Answers, setting: Setting, part: str = "total") -> list[Movement]:
    return [movements[part] for movements in answers.movements[setting].values()]


def _norms(answers: Answers) -> Grid:
    rows = []
    for setting in answers.settings:
        found = _of(answers, setting)
        ranges = (
            median_and_range([100 * m.depth for m in found], 1),
            *(median_and_range([get(m.norms) for m in found]) for get in (lambda norms: norms[0], min)),
            median_and_range([m.minimum for m in found]),
            median_and_range([m.norms[-1] for m in found]),
        )
        significant = f"{sum(m.significant for m in found)} of {len(found)}"
        rows.append((label(setting), percent(answers.bounced(setting)), significant, *ranges))
    names = ("depth, % of the lowest", "after epoch 1", "lowest", "epoch of the lowest", "at the end")
    return Grid(("setting", "bounced", "significant", *names), rows)


def _decays(answers: Answers) -> Grid:
    rows = []
    for setting in answers.settings:
        found = _of(answers, setting)
        for rule, arm, name in (("trend", "abel", "trend"), ("paper", "abel-paper", "Algorithm 1")):
            at: list[tuple[int, ...]] = [getattr(m, rule) for m in found]
            first = [(epochs[0], m) for epochs, m in zip(at, found) if epochs]
            in_training = answers.decays.get((setting, arm), {}).values()
            amounts = (
                f"{len(first)} of {len(found)}",
                median_and_range([epoch for epoch, _ in first]),
                f"{sum(epoch <= m.minimum for epoch, m in first)}",
                *(median_and_range([len(epochs) for epochs in of]) for of in (at, in_training)),
            )
            rows.append((label(setting), name, *amounts))
    names = ("runs with a decay", "epoch of the first", "of these before the minimum", "decays a run")
    return Grid(("setting", "rule", *names, "decays in training"), rows)


def _layers(answers: Answers) -> Grid:
    parts = ("total", *LAYERS)
    rows = [
        (label(s), *(f"{sum(m.bounced for m in _of(answers, s, part))}" for part in parts)) for s in answers.settings
    ]
    return Grid(("setting", *parts), rows)


def _places(answers: Answers) -> Grid:
    end = plan.first_epoch(max(plan.PLACES), EPOCHS)
    rows = []
    for setting in (s for s in answers.settings if s in answers.profiles):
        means = {place: float(np.mean(scores)) for place, scores in answers.profiles[setting].items()}
        best, minima = answers.tuned[setting], answers.tuning_minima[setting]
        near = [place for place, mean in means.items() if mean > means[best] - EQUAL]
        # At the end of the constant rate the norm may not be at its lowest yet.
        lowest = f"still falling at {end}" if min(minima) >= end else median_and_range(minima)
        epochs = ", ".join(number(EPOCHS * place, 0) for place in sorted(near))
        accuracies = " ".join(number(100 * means[place], 1) for place in sorted(means))
        rows.append((label(setting), lowest, number(EPOCHS * best, 0), epochs, accuracies))
    names = ("lowest |w|²", "best first decay", f"within {100 * EQUAL:g} point of the best", "accuracies, %")
    return Grid(("setting", *names), rows)


def _gains(answers: Answers) -> Grid:
    rows = []
    for setting in answers.compared:
        found = [answers.gain(setting, arm) for arm in COMPLEX]
        cells = [f"{points(gain)} {verdict(gain)}" if gain is not None else "–" for gain in found]
        rows.append((label(setting), percent(answers.bounced(setting)), *cells))
    return Grid(("setting", "bounced", *COMPLEX), rows)


def _factors(answers: Answers) -> Grid:
    rows = []
    for setting in answers.compared:
        for factor in sorted({factor for s, _, factor in answers.accuracies if s == setting}):
            values = (points(answers.mean(setting, arm, factor)) for arm in WITH_FACTORS)
            rows.append((label(setting), f"{factor:g}", *values))
    return Grid(("setting", "decay factor", *WITH_FACTORS), rows)
