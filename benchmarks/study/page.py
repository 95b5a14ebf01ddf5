"""The page of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from agents import find_preset
from benchmarks.report import words
from benchmarks.report.answers import Answers, answer, sensitivity
from benchmarks.report.figures import Picture, pictures
from benchmarks.report.tables import Table, markdown, tables
from benchmarks.results import Results
from benchmarks.study.edge import edge_in_words, over_rates
from benchmarks.study.fresh import decays_on_fresh_seeds, fresh_in_words
from benchmarks.study.headlines import bounce_headlines, headlines, in_short, unlearned
from benchmarks.study.norms import (
    DEEP,
    SMOOTHED,
    by_shape,
    candidate,
    falls_and_rises,
    in_words,
    layers,
    outward,
    why,
)
from benchmarks.study.scores import beside, decays_by_bounce, literal_in_training, single_decays
from benchmarks.study.settings import by_rate_in_words, over_settings, settings_in_words
from benchmarks.study.stages import MULTIPLIERS, Choice, choose, progress, stages
from rl_abel.rule import TrendRule

PAGE = "study.md"
CHAPTERS: dict[str, dict[str, tuple[str, ...]]] = {
    "PPO on classic control": {
        "main": ("classic", "classic, more seeds", "lander", "decay"),
        "robust": ("robust",),
        "edge": ("lander, larger rates",),
        "fresh": ("fresh seeds, cartpole",),
    },
    "DQN, SAC and CrossQ": {
        "main": (
            "offpolicy, constant",
            "offpolicy, other arms",
            "offpolicy, weight decay",
            "offpolicy, less weight decay",
        ),
        "fresh": ("fresh seeds, sac",),
    },
    "PPO on MinAtar": {"main": ("games",)},
    "PPO on MuJoCo": {"main": ("mujoco",)},
}
"""Chapter -> part (see :class:`Parts`) -> stages."""

COMMANDS = """
```
make results                                            # this page and its figures, from the files beside it
make .venv/bench.installed                              # sets up what the others need
.venv/bin/python -m benchmarks.study list               # the stages, and how much of each is done
.venv/bin/python -m benchmarks.study run --minutes 50   # train what is missing, into results/study
.venv/bin/python -m benchmarks.study save               # finished runs into the files beside this page
```
"""


class Parts(NamedTuple):
    """The runs of a chapter.

    :param main: those that answer its questions; here a multiplier of 1 is the one that was chosen for the arm
    :param robust: those for the sensitivity
    :param edge: those beyond the tuning's rates
    :param fresh: those that tell on other seeds what decays by a bounce bring
    """

    main: Results
    robust: Results
    edge: Results
    fresh: Results


@dataclass(frozen=True)
class Chapter:
    """What belongs together: runs that are compared, and all that is made of them."""

    title: str
    answers: Answers
    movement: list[str]
    settings: list[str]
    added: list[str]
    shapes: dict[str, dict[str, int]]
    outward: dict[str, int]
    pictures: list[Picture]
    tables: list[Table]


def write_page(results: Results, folder: Path) -> Path:
    """Write page and figures of the study into ``folder``, and return the page's path."""
    chapters = [_chapter(number, title, parts) for number, (title, parts) in enumerate(split(results).items())]
    for chapter in chapters:
        for picture in chapter.pictures:
            (folder / f"{picture.name}.png").write_bytes(picture.png)
    (folder / PAGE).write_text("\n".join(_page(results, chapters)), encoding="utf-8")
    return folder / PAGE


def split(results: Results) -> dict[str, Parts]:
    """Return the runs by chapter, without chapters whose questions no run answers yet."""
    by_stage = {name: {run.run_id for run in runs} for name, runs in stages(choose(results.runs)).items()}
    chapters = {}
    for title, of_chapter in CHAPTERS.items():
        names = (of_chapter.get(part, ()) for part in Parts._fields)
        parts = Parts(*(_only(results, set().union(*(by_stage[name] for name in of_part))) for of_part in names))
        main = Results(parts.main.runs.assign(rate_multiplier=1.0), parts.main.evaluations, parts.main.traces)
        if len(main.runs):
            chapters[title] = parts._replace(main=main)
    return chapters


def _only(results: Results, run_ids: set[str]) -> Results:
    kept = (t[t["run_id"].isin(run_ids)] for t in (results.runs, results.evaluations, results.traces))
    return Results(*(table.reset_index(drop=True) for table in kept))


def _chapter(number: int, title: str, parts: Parts) -> Chapter:
    main, robust, edge, fresh = parts
    answers, varied = answer(main), sensitivity(robust.runs)
    drawn = [replace(picture, name=f"study_{number}_{picture.name}") for picture in pictures(main, answers, varied)]
    made = [
        *tables(answers, varied),
        falls_and_rises(main),
        layers(main),
        why(main),
        single_decays(answers),
        literal_in_training(main),
        decays_by_bounce(main, answers),
        decays_on_fresh_seeds(fresh),
        over_settings(robust),
        over_rates(edge),
        beside(main),
    ]
    made = [replace(table, title=f"{title}: {table.title}") for table in made]
    movement = [*in_words(main), *candidate(main, answers)]
    settings = [*settings_in_words(robust)]
    added = [*edge_in_words(main, edge), *by_rate_in_words(robust), *fresh_in_words(fresh)]
    return Chapter(title, answers, movement, settings, added, by_shape(main), outward(main), drawn, made)


def _page(results: Results, chapters: list[Chapter]) -> Iterator[str]:
    yield "# First evidence: does the weight norm bounce in RL, and does constant + final decay suffice?\n"
    by_title = {chapter.title: chapter.answers for chapter in chapters}
    shapes = {task: of_task for chapter in chapters for task, of_task in chapter.shapes.items()}
    moved = {task: of_task for chapter in chapters for task, of_task in chapter.outward.items()}
    added = [said for chapter in chapters for said in chapter.added]
    for title, answers in (
        ("Does it bounce?", bounce_headlines(by_title, shapes, moved)),
        ("Does one decay near the end suffice?", (*headlines(by_title), *added)),
    ):
        yield f"**{title}**\n"
        yield from (f"- {words.escaped(said)}" for said in answers)
        yield ""
    short = in_short(by_title)
    if short.rows:
        yield markdown(short)
    yield f"## To read this\n\n{_to_read_this(results)}\n"
    for question, sentences in (
        (words.QUESTIONS[0], lambda chapter: (*words.bounce(chapter.answers), *chapter.movement)),
        (words.QUESTIONS[1], lambda chapter: (*words.sufficiency(chapter.answers), *chapter.settings)),
    ):
        yield f"## {question}\n"
        if not chapters:
            yield "Not answered yet: of the stages that answer it no run has finished.\n"
        for chapter in chapters:
            yield f"{chapter.title}:\n"
            yield from (f"- {words.escaped(sentence)}" for sentence in sentences(chapter))
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


def _to_read_this(results: Results) -> str:
    runs = len(results.runs)
    hours = results.runs["wall_time_s"].sum() / 3600
    crashed = int((results.runs["status"] == "failed").sum())
    return "\n".join(
        (
            f"- {runs:,} runs, {hours:.0f} hours of one core; {crashed:,} crashed. What was to be run, and how the "
            "questions are answered, was fixed beforehand, and every change since has its date: [plan.md](plan.md). "
            "The positive control, where the norm does bounce: [control.md](control.md).",
            "- “adamw 10” stands for weight decay by AdamW that would by itself shrink the weights by 10 e-folds in a "
            "run (ηλN = 10: rate times coefficient times updates). |w|², the squared norm, is measured about 100 "
            "times a run.".replace("|", "\\|"),
            "- By the rule “trend” a norm bounces that falls, rises, and levels off, each for about 10 measurements or "
            f"more, and by {100 * TrendRule.depth:g} % or more. By shape it does whose running "
            f"median over {SMOOTHED} measurements falls by {100 * DEEP:g} % below "
            f"its start and then rises by {100 * DEEP:g} % from its lowest, however fast and late. Only the first is "
            "what decays the rate; the second was added after the results were known.",
            "- Of the [arms](../benchmark.md#arms), constant + final decay is a constant rate, times 0.1 at 85 % of "
            "the run; abel does the same, and decays after every bounce of the total, policy or value norm; "
            "abel-paper does so by the paper's Algorithm 1, on the total.",
            "- A score is 0 for a random policy and 1 for the reference, most of them rl-baselines3-zoo's "
            "(`envs/table.py`). A run *failed* if it crashed or scored below 0.5.",
            "- Intervals are of 95 %: exact binomial for shares; else the bootstrap over seeds, runs of one seed "
            "together, its percentiles widened for few seeds by √(n/(n−1)) and Student's t "
            "(`benchmarks/statistics/estimates.py`). "
            "*Equivalent*: mean and IQM within ±0.05, interval and all, of enough pairs. *Different*: both intervals "
            "exclude 0, and do not both lie within ±0.05. Else *undecided*.",
        )
    )


def _limits(results: Results, chapters: list[Chapter]) -> Iterator[str]:
    for name, (done, planned) in progress(results.runs).items():
        if not done:
            yield f"Stage “{name}” has not been run yet."
        elif done < planned:
            yield f"Stage “{name}” lacks {planned - done:,} of its {planned:,} runs so far."
    for chapter in chapters:
        yield from map(words.escaped, unlearned(chapter.answers))
        yield from (f"{chapter.title}: {words.escaped(said)}." for said in chapter.answers.left_out)
    yield (
        "Budgets are shorter than the presets' own (plan.md): what a schedule does late in a long training is not "
        "seen here. Networks are small; nothing is said about large ones, nor about Atari."
    )
    yield (
        "Base rates were chosen without weight decay, on two seeds for each arm. Of the ways to regularize, AdamW "
        "alone was tried. Algorithm 1 was not trained with weight decay. Intervals are not corrected for how many "
        "there are."
    )
    yield from _at_the_edge(choose(results.runs))
    yield (
        "A bounce by the rule “trend” is not all that a look at the curves would call one. It finds nearly all "
        "bounces planted into recorded norms, but few under ten times their noise ([defaults.md](defaults.md)), and it "
        "does not see a fall of fewer than 10 measurements, a tenth of a run (the total of SAC with weight decay, "
        "and CrossQ's, fall so); nor does it care whether the norm had risen before."
    )


def _at_the_edge(choice: Choice) -> Iterator[str]:
    chosen: dict[str, list[float]] = {}
    for (env_id, _), multiplier in choice.items():
        chosen.setdefault(env_id, []).append(multiplier)
    largest = {env_id: sum(m == max(MULTIPLIERS) for m in of_env) for env_id, of_env in chosen.items()}
    where = [f"{n} of {len(chosen[env_id])} arms on {env_id}" for env_id, n in largest.items() if n]
    if where:
        yield (
            f"The largest base rate that was tried, {max(MULTIPLIERS):g} times the preset's, is the one chosen for "
            f"{', '.join(where)}: there a still larger one may be better."
        )


def _progress(results: Results) -> Table:
    rows = [(name, f"{done:,}", f"{planned:,}") for name, (done, planned) in progress(results.runs).items()]
    return Table(
        "Runs by stage",
        "In the order in which they are run; a run that two stages share counts in both.",
        ("stage", "done", "planned"),
        rows,
    )


def _rate(choice: Choice, env_id: str, arm: str) -> str:
    if (env_id, arm) not in choice:
        return "–"
    return f"{choice[env_id, arm]:g} ({choice[env_id, arm] * find_preset('PPO', env_id).learning_rate:g})"


def _multipliers(results: Results) -> Table:
    choice = choose(results.runs)
    envs = list(dict.fromkeys(env_id for env_id, _ in choice))
    arms = list(dict.fromkeys(arm for _, arm in choice))
    rows = [(arm, *(_rate(choice, env_id, arm) for env_id in envs)) for arm in arms]
    note = (
        "Where all runs of a tuning are done; in brackets the rate itself. Arms of one task need not have the same: "
        "what they were compared at is in this table."
    )
    return Table("Base rate, times the preset's, chosen on the tuning seeds", note, ("arm", *envs), rows)
