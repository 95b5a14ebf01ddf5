"""The page of the positive control: docs/results/control.md, from the two saved tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.control import plan
from benchmarks.control.answers import COMPLEX, EQUAL, SHALLOW, Answers, answer, verdict
from benchmarks.control.figures import draw
from benchmarks.control.plan import EPOCHS, FINAL_DECAY_AT, TWICE
from benchmarks.control.words import bouncing, gains, label, moved, pattern, points, showcase
from benchmarks.report.words import number, templates, wrapped

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
    environment.filters.update(points=points, label=label, verdict=verdict, ranged=median_and_range)
    return wrapped(environment.get_template(f"{PAGE}.j2").render(context(answers, runs)))


def context(answers: Answers, runs: pd.DataFrame) -> dict[str, Any]:
    """Return what the template fills in."""
    tuning = runs["seed"].isin(plan.TUNING_SEEDS)
    setting, layers = showcase(answers), ("total", *plan.LAYERS)
    elsewhere = [verdict(gain) for gain in gains(answers, bouncing(answers, False)).values()]
    return {
        **{"plan": plan, "answers": answers, "arms": COMPLEX, "shallow": SHALLOW, "equal": EQUAL},
        **{"runs": int((~tuning).sum()), "tuning_runs": int(tuning.sum())},
        "seeds": runs.loc[~tuning, "seed"].nunique(),
        "tuning_seeds": runs.loc[tuning, "seed"].nunique(),
        "layers": layers,
        "final_epoch": FINAL_DECAY_AT * EPOCHS,
        "showcase": setting,
        "bounce": moved(answers, [setting]),
        "without": moved(answers, [s for s in answers.settings if not s[0]]),
        "gains": _by_arm(answers, setting),
        "low": _by_arm(answers, setting, over_factor=TWICE),
        "others": {other: _by_arm(answers, other) for other in bouncing(answers) if other != setting},
        "elsewhere": {word: elsewhere.count(word) for word in ("better", "worse", "same")} | {"all": len(elsewhere)},
        "pattern": pattern(answers),
        "movements": {s: {p: [run[p] for run in m.values()] for p in layers} for s, m in answers.movements.items()},
        "places": [_places(answers, s) for s in answers.settings if s in answers.profiles],
        "factors": {s: sorted({factor for of, _, factor in answers.accuracies if of == s}) for s in answers.compared},
    }


def median_and_range(values: Sequence[float], digits: int = 0) -> str:
    """Return "34 (30 to 39)"; "–" for no values."""
    if not values:
        return "–"
    middle, low, high = (number(float(v), digits) for v in (np.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _by_arm(answers: Answers, setting: plan.Setting, **over: float) -> dict[str, Any]:
    return {arm: gain for (_, arm), gain in gains(answers, [setting], **over).items()}


def _places(answers: Answers, setting: plan.Setting) -> dict[str, Any]:
    """Return where step's first decay is best on the tuning seeds, and where the norm is lowest."""
    means = {place: float(np.mean(scores)) for place, scores in sorted(answers.profiles[setting].items())}
    best, minima = answers.tuned[setting], answers.tuning_minima[setting]
    end = plan.first_epoch(max(plan.PLACES), EPOCHS)
    # At the end of the constant rate the norm may not be at its lowest yet.
    lowest = f"still falling at {end}" if min(minima) >= end else median_and_range(minima)
    near = [place for place, mean in means.items() if mean > means[best] - EQUAL]
    return {"setting": setting, "lowest": lowest, "best": best, "near": near, "means": list(means.values())}
