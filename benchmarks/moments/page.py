"""The page docs/results/moments.md and its figure, from the saved tables alone, be they whole or not."""

from __future__ import annotations

from pathlib import Path

from benchmarks.moments import answers as told
from benchmarks.moments import plan
from benchmarks.moments.answers import BOUNCES, EQUILIBRIUM, TASKS, Answers, answer, conditions, follows, predicts
from benchmarks.moments.figures import PICTURE, draw
from benchmarks.moments.plan import DIGITS, HELD_OUT, Task
from benchmarks.moments.predictors import PREDICTORS
from benchmarks.moments.study import DIGITS_RUNS, RUNS
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.verdicts import BETTER, WORSE, judged
from benchmarks.words import interval, templates, wrapped

PAGE = "moments.md"


def write_page(folder: Path) -> Path:
    """Write page and figure beside the tables in ``folder``; return the page.

    :raises ValueError: if there is not a single trunk
    """
    control, runs = (answer(*tables.read(folder), tasks) for tables, tasks in ((DIGITS_RUNS, DIGITS), (RUNS, TASKS)))
    if not control and not runs:
        raise ValueError(f"there is no trunk in {folder}; run comes first")
    draw({**control, **runs}, folder)
    page = folder / PAGE
    page.write_text(render(control, runs), encoding="utf-8")
    return page


def render(control: Answers, runs: Answers) -> str:
    """Return the text of the page.

    :param control: of the digits; ``runs``, of the tasks in RL
    """
    environment = templates("benchmarks.moments")
    environment.filters.update(judged=judged, named=named, marked=marked)
    found = conditions(runs)
    without = [task for task in TASKS if not task.strength]
    return wrapped(
        environment.get_template(f"{PAGE}.j2").render(
            plan=plan,
            picture=PICTURE,
            stages=list(enumerate(plan.STAGES, 1)),
            control=control,
            digits=DIGITS[0],
            runs=runs,
            decaying={task: of for task, of in runs.items() if task.strength},
            bounces=BOUNCES,
            equilibrium=EQUILIBRIUM,
            events=(*BOUNCES, EQUILIBRIUM),
            conditions=found,
            follows=follows(found),
            missing=[task for task in TASKS if task.role == HELD_OUT and not told.whole(runs, task)],
            without=told.counted(runs, without),
            without_held_out=told.counted(runs, [task for task in without if task.role == HELD_OUT]),
            at_most=told.AT_MOST,
            predictors={name: predicts(runs, name) for name in PREDICTORS},
        )
    )


def named(task: Task) -> str:
    """Return a task and its strength in words."""
    name = "digits" if task.role == plan.CONTROL else task.name
    kind = "L2" if task.role == plan.CONTROL else "ηλN"
    return f"{name}, {f'{kind} {task.strength:g}' if task.strength else 'no weight decay'}"


def marked(value: Interval | None) -> str:
    """Return an interval, and a star if it excludes 0."""
    return interval(value) + (" \\*" if judged(value) in (BETTER, WORSE) else "")
