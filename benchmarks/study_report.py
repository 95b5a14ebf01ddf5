"""The page of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.equivalence import compare
from benchmarks.report import QUESTIONS, words
from benchmarks.report.answers import (
    CANDIDATE,
    GROUPS,
    SEED,
    Answers,
    answer,
    at_standard,
    prevalence,
    sensitivity,
    undisturbed,
    with_tasks,
)
from benchmarks.report.figures import Picture, pictures
from benchmarks.report.tables import Table, failures, markdown, tables
from benchmarks.results import Results
from benchmarks.study import choose, progress, stages

PAGE = "study.md"
CHAPTERS = {
    "PPO on classic control": (("classic", "classic, more seeds", "lander", "decay"), ("robust",)),
    "DQN, SAC and CrossQ": (("offpolicy",), ()),
    "PPO on MinAtar": (("games",), ()),
}
"""Chapter -> the stages that answer its questions, and those for the sensitivity."""

PAPER = (
    ("Seaquest (read; labelled Qbert)", "1750", "1850"),
    ("Pong (labelled Seaquest)", "21.0", "20.7"),
    ("Qbert (labelled Pong)", "22300", "23000"),
)
"""Lewkowycz 2021, Table 2, RL: PPO, three runs each, linear decay and constant with one decay at the end."""

COMMANDS = """
```
make results                                            # this page and its figures, from the files beside it
.venv/bin/python -m benchmarks.study list               # the stages, and how much of each is done
.venv/bin/python -m benchmarks.study run --minutes 50   # train what is missing, into results/study
.venv/bin/python -m benchmarks.study save               # finished runs into the files beside this page
```
"""


@dataclass(frozen=True)
class Chapter:
    """What belongs together: runs that are compared, and all that is made of them."""

    title: str
    answers: Answers
    pictures: list[Picture]
    tables: list[Table]


def write_page(results: Results, folder: Path) -> Path:
    """Write page and figures of the study into ``folder``, and return the page's path."""
    chapters = [_chapter(number, title, *pair) for number, (title, pair) in enumerate(split(results).items())]
    for chapter in chapters:
        for picture in chapter.pictures:
            (folder / f"{picture.name}.png").write_bytes(picture.png)
    (folder / PAGE).write_text("\n".join(_page(results, chapters)), encoding="utf-8")
    return folder / PAGE


def split(results: Results) -> dict[str, tuple[Results, Results]]:
    """Return, by chapter, the runs that answer the questions, and those of the stage "robust".

    In the first a multiplier of 1 is the one that was chosen for the arm.
    """
    by_stage = {name: {run.run_id for run in runs} for name, runs in stages(choose(results.runs)).items()}
    chapters = {}
    for title, (names, robust) in CHAPTERS.items():
        main = _only(results, set().union(*(by_stage[name] for name in names)))
        main = Results(main.runs.assign(rate_multiplier=1.0), main.evaluations, main.traces)
        if len(main.runs):
            chapters[title] = main, _only(results, set().union(*(by_stage[name] for name in robust)))
    return chapters


def _only(results: Results, run_ids: set[str]) -> Results:
    kept = (t[t["run_id"].isin(run_ids)] for t in (results.runs, results.evaluations, results.traces))
    return Results(*(table.reset_index(drop=True) for table in kept))


def _chapter(number: int, title: str, main: Results, robust: Results) -> Chapter:
    answers, varied = answer(main), sensitivity(robust.runs)
    drawn = [replace(picture, name=f"study_{number}_{picture.name}") for picture in pictures(main, answers, varied)]
    made = [_why(main), _layers(main), *tables(answers, varied), decays_by_bounce(main, answers), _beside(main)]
    return Chapter(title, answers, drawn, made)


def _page(results: Results, chapters: list[Chapter]) -> Iterator[str]:
    yield "# First evidence: does the weight norm bounce in RL, and does constant + final decay suffice?\n"
    yield (
        f"{failures(results)}. What was to be run and how the questions are answered was fixed beforehand: "
        "[plan.md](plan.md). `make results` makes this page from `runs.parquet`, `evaluations.parquet` and "
        "`traces.parquet` beside it. The positive control, where the norm does bounce: [control.md](control.md). "
        "“adamw 10” stands for weight decay by AdamW that would by itself shrink the weights by 10 e-folds in a run "
        "(ηλN = 10).\n"
    )
    for question, sentences in zip(QUESTIONS, (words.bounce, words.sufficiency)):
        yield f"## {question}\n"
        if not chapters:
            yield "Not answered yet: of the stages that answer it no run has finished.\n"
        for chapter in chapters:
            yield f"{chapter.title}:\n"
            yield from (f"- {words.escaped(sentence)}" for sentence in sentences(chapter.answers))
            yield ""
    yield "## What is not supported by these runs\n"
    yield from (f"- {said}" for said in _limits(results, chapters))
    yield ""
    for chapter in chapters:
        yield f"# {chapter.title}\n"
        for picture in chapter.pictures:
            caption = words.escaped(picture.caption)
            yield f"![{caption}]({picture.name}.png)\n\n*{caption}*\n"
        yield from (markdown(table) for table in chapter.tables if table.rows)
    yield "# What was run\n"
    yield from (markdown(table) for table in (_multipliers(results), _progress(results)) if table.rows)
    yield f"## Commands\n{COMMANDS}"


def _limits(results: Results, chapters: list[Chapter]) -> Iterator[str]:
    for name, (done, planned) in progress(results.runs).items():
        if not done:
            yield f"Stage “{name}” has not been run yet."
        elif done < planned:
            yield f"Stage “{name}” lacks {planned - done:,} of its {planned:,} runs so far."
    for chapter in chapters:
        yield from (f"{chapter.title}: {words.escaped(said)}." for said in chapter.answers.left_out)
    yield (
        "Budgets are shorter than the presets' own (plan.md): what a schedule does late in a long training is not "
        "seen here. Networks are small; nothing is said about large ones, nor about Atari."
    )
    yield "A bounce is what the rule “trend” takes for one; its recall on slow bounces under strong noise is below 1."


def _progress(results: Results) -> Table:
    rows = [(name, f"{done:,}", f"{planned:,}") for name, (done, planned) in progress(results.runs).items()]
    return Table("Runs by stage", "In the order in which the stages are run.", ("stage", "done", "planned"), rows)


def _multipliers(results: Results) -> Table:
    choice = choose(results.runs)
    envs = list(dict.fromkeys(env_id for env_id, _ in choice))
    arms = list(dict.fromkeys(arm for _, arm in choice))
    rows = [(arm, *(f"{choice[env_id, arm]:g}" if (env_id, arm) in choice else "–" for env_id in envs)) for arm in arms]
    note = "Where all runs of a tuning are done."
    return Table("Base rate, times the preset's, chosen on the tuning seeds", note, ("arm", *envs), rows)


def alignment(trace: pd.DataFrame) -> tuple[float, float]:
    """Return alignment as a multiple of displacement, in the first and the last third of a run.

    Above -1 the norm grows, at -1 it is at equilibrium, below it falls.
    """
    terms = trace[["displacement_total", "alignment_total"]].dropna().to_numpy()
    third = len(terms) // 3
    shares = [part[:, 1].sum() / part[:, 0].sum() for part in (terms[:third], terms[len(terms) - third :])]
    return shares[0], shares[1]


def _why(main: Results) -> Table:
    rows = []
    for task, traces in undisturbed(main, with_tasks(main.runs)).items():
        shares = np.array([alignment(trace) for trace in traces])
        growth = np.array([trace["total"].iloc[-1] / trace["total"].iloc[0] for trace in traces])
        rows.append((task, str(len(traces)), *(_range(v, "{:+.2f}") for v in shares.T), _range(growth, "{:.2f}")))
    note = (
        "Of Δ|w|² = |Δw|² + 2 w·Δw between measurements, runs at a constant rate: the second term, alignment, as a "
        "multiple of the first, displacement, which always adds. At −1 the norm is at equilibrium, below it falls, "
        "above it grows; where it is positive nothing pulls the norm down. Median over runs, and lowest to highest."
    )
    header = ("task", "runs", "first third", "last third", "|w|² at the end / start")
    return Table("Why the norm moves as it does", note, header, rows)


def _range(values: np.ndarray, form: str) -> str:
    low, middle, high = map(form.format, np.quantile(values, [0, 0.5, 1]))
    return f"{middle} ({low} to {high})".replace("-", "−")


def _layers(main: Results) -> Table:
    rows = []
    for task, traces in undisturbed(main, with_tasks(main.runs)).items():
        for name in (name for name in main.traces.columns if name.startswith("layer/")):
            norms = [trace[name].to_numpy(dtype=float) for trace in traces if trace[name].notna().any()]
            if norms and (found := prevalence(norms)).num_bounced:
                rows.append((task, name.removeprefix("layer/"), words.part(found)))
    return Table(
        "Layers that bounced",
        "Runs at a constant rate in which the rule “trend” sees a bounce of one of the ten largest layers.",
        ("task", "layer", "runs that bounced"),
        rows,
    )


def decays_by_bounce(main: Results, answers: Answers) -> Table:
    """What the arm abel gains on constant + final decay, which differs from it by decays after bounces alone."""
    runs = at_standard(with_tasks(main.runs))
    runs = runs[(runs["arm"] == "abel") & (runs["status"] == "complete")]
    runs["bounced"] = runs["decays"].str.contains('"bounce"')
    abel, candidate = (answers.scores.get(arm, {}) for arm in ("abel", CANDIDATE))
    rows = []
    for group, regularized in GROUPS.items():
        tasks = [
            task
            for task in abel
            if (task in answers.regularized) == regularized and set(abel[task]) & set(candidate.get(task, ()))
        ]
        if not tasks:
            continue
        scores = {"abel": {t: abel[t] for t in tasks}, CANDIDATE: {t: candidate[t] for t in tasks}}
        found = compare(scores, "abel", CANDIDATE, np.random.default_rng(SEED))
        for label, judged, of_row in [
            (f"all, {group}", found.overall, tasks),
            *((t, found.tasks[t], [t]) for t in tasks),
        ]:
            bounced = runs.loc[runs["task"].isin(of_row), "bounced"]
            amounts = words.interval(judged.mean), words.interval(judged.iqm)
            same = not bounced.any() and all(abel[t].get(i, x) == x for t in of_row for i, x in candidate[t].items())
            verdict = "the same runs" if same else judged.verdict
            rows.append((label, f"{bounced.sum()} of {len(bounced)}", *amounts, verdict))
    note = (
        "The arm abel is constant + final decay, and a decay after every bounce that it sees: in how many of its runs "
        "there was one, and the difference of the score, abel minus constant + final decay, with 95 % intervals."
    )
    header = ("task", "runs with a decay by a bounce", "mean", "IQM", "verdict")
    return Table("What the decays by a bounce cost or bring", note, header, rows)


def _beside(main: Results) -> Table:
    runs = with_tasks(main.runs)
    runs = runs[runs["status"] == "complete"]
    rows = [(f"paper: {name}", "3", linear, final) for name, linear, final in PAPER]
    for task, of_task in runs.groupby("task"):
        returns = [of_task.loc[of_task["arm"] == arm, "final_return"] for arm in ("linear", "constant+final")]
        if min(map(len, returns)) > 1:
            rows.append((str(task), " / ".join(str(len(r)) for r in returns), *map(_with_error, returns)))
    note = (
        "Final returns: mean, here with its standard error. What the paper calls a complex schedule is linear decay, "
        "and a simple one constant + final decay."
    )
    return Table("Beside the paper's Table 2", note, ("task", "runs", "linear", "constant+final"), rows)


def _with_error(values: pd.Series) -> str:
    return f"{values.mean():,.1f} ± {values.sem():.1f}".replace("-", "−")
