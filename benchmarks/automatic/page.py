"""The page of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.automatic.answers import REGRET, SHOWN, WORST, Task, answer, falls, verdicts
from benchmarks.automatic.stages import AFTERWARDS, AUTOMATIC, FEWEST_SEEDS, KINDS, TASKS
from benchmarks.plan import LED
from benchmarks.statistics.estimates import Interval
from benchmarks.words import templates, wrapped

PAGE = "automatic.md"


def write_page(folder: Path) -> Path:
    """Write the page beside the saved runs in ``folder``; return it.

    :raises ValueError: if there is no saved run
    """
    if (results := AUTOMATIC.saved(folder)) is None:
        raise ValueError(f"there is no saved run of {AUTOMATIC.name} in {folder}; run and save come first")
    (folder / PAGE).write_text(render(results.runs), encoding="utf-8")
    return folder / PAGE


def render(runs: pd.DataFrame) -> str:
    """Return the page of these runs."""
    found = answer(runs)
    decided = verdicts(found)
    values = {
        "tasks": found,
        "verdicts": decided,
        "kinds": list(KINDS),
        "formula": LED[0],
        "fewest": FEWEST_SEEDS,
        "wide": wide(found),
        "falls": falls(runs),
        "any_yes": any(told.get(LED[0]) and told[LED[0]].ships for told in decided.values()),
        "progress": AUTOMATIC.progressed(set(runs["run_id"])),
        "missing": [name for name in TASKS if name not in found],
        "afterwards": AFTERWARDS,
        "arms": SHOWN,
        "most_regret": REGRET,
        "least": WORST,
        "num_runs": len(runs),
    }
    return wrapped(templates("benchmarks.automatic").get_template(f"{PAGE}.j2").render(values))


def wide(found: dict[str, Task]) -> list[tuple[str, Interval]]:
    """Return what the formula loses on the tasks where that may be more than the bar allows."""
    lost = [(name, task.rules[LED[0]].regret) for name, task in found.items() if task.is_learned]
    return [(name, one) for name, one in lost if one.high > 1 - WORST]
