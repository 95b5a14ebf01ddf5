"""The page of the positive control: docs/results/control.md, from the two saved tables alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.control import plan
from benchmarks.control.answers import COMPLEX, EQUAL, SHALLOW, Answers, Movement, answer, verdict
from benchmarks.control.figures import draw
from benchmarks.control.plan import DECAY_FACTOR, EPOCHS, FINAL_DECAY_AT, LAYERS, WITH_FACTORS, Setting
from benchmarks.control.words import label, pattern, points, summary
from benchmarks.report.words import number, percent

RUNS, TRACES, PAGE = "control_runs.parquet", "control_traces.parquet", "control.md"

Row = Sequence[str]


def write_report(folder: Path) -> Path:
    """Write page and figures beside the tables in ``folder``; return the page."""
    runs, traces = pd.read_parquet(folder / RUNS), pd.read_parquet(folder / TRACES)
    answers = answer(runs, traces)
    captions = draw(answers, folder)
    page = folder / PAGE
    page.write_text("\n".join(lines(answers, runs, captions)) + "\n")
    return page


def lines(answers: Answers, runs: pd.DataFrame, captions: dict[str, str]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield from ("# Positive control: where the weight norm does bounce", "")
    yield from (summary(answers), "", _what(runs), "")
    yield from ("## Which parts of the paper's pattern appear at this size", "")
    findings = list(pattern(answers))
    yield from _table(("the paper's pattern", "here", "in numbers"), [(f.claim, f.found, f.numbers) for f in findings])
    absent = [f.claim for f in findings if f.found != "appears"]
    yield from (f"{len(findings) - len(absent)} of {len(findings)} parts appear. " + _absent(absent), "")
    for (name, caption), title in zip(captions.items(), TITLES):
        yield from (f"## {title}", "")
        yield from (f"![{caption}]({name})", "", f"*{caption}*", "")
        for note, header, rows in TABLES[name](answers):
            yield from (note, "")
            yield from _table(header, rows)
    yield from ("## What to know to read this", "", *_notes(), "")


def _what(runs: pd.DataFrame) -> str:
    tuning = runs["seed"].isin(plan.TUNING_SEEDS)
    channels = ", ".join(map(str, plan.CHANNELS))
    return (
        "In RL the weight norm seldom bounces, so a supervised task in which it does tells whether rules and "
        "statistics see what they should. A convolutional net with batch normalisation (3x3 convolutions of "
        f"{channels} channels, a mean over the image, a linear layer) learns scikit-learn's digits by SGD (momentum "
        f"{plan.MOMENTUM:g}, batches of {plan.BATCH_SIZE}) for {EPOCHS} epochs. Each image is shifted by up to one "
        f"pixel and has Gaussian noise of standard deviation {plan.NOISE:g} on pixels from 0 to 1. "
        f"{plan.TRAIN_IMAGES} images are trained on, all others test, with that noise too. {(~tuning).sum()} runs on "
        f"{runs.loc[~tuning, 'seed'].nunique()} seeds, and {tuning.sum()} on {runs.loc[tuning, 'seed'].nunique()} "
        "other seeds to choose where “step” decays."
    )


def _absent(claims: Sequence[str]) -> str:
    return "All of them do." if not claims else "Not, or not clearly: " + "; ".join(claims) + "."


def _notes() -> Iterator[str]:
    final = f"{FINAL_DECAY_AT:.0%}".replace("%", " %")
    yield (
        "- |w|² is the squared L2 norm of everything that the optimizer owns: weights and biases, and the scales and "
        "shifts of batch normalisation too. L2 is torch's `weight_decay` of SGD, which is added to the gradient, on "
        "all of it. The norm is measured at the end of each epoch, and that is what the rules see."
    )
    yield (
        f"- The rate {plan.SLOW_RATE:g} was added to the plan, for “simple” alone, when the first seeds had shown that "
        f"at {min(plan.LEARNING_RATES):g} the norm reaches its minimum just as the constant part ends. “simple” with "
        f"decay factor {plan.TWICE:g} was added when all results had been seen: arms that decay twice were better "
        "where the norm bounces, and end at a lower rate."
    )
    yield (
        f"- The arms: “simple” is the base rate, times the decay factor at {final}. “step” decays at a place that was "
        f"tuned in each setting on {len(plan.TUNING_SEEDS)} seeds used for nothing else, and again at {final}. "
        "“cosine” goes to 0. “abel-paper” and “abel” decay after each bounce, by Algorithm 1 to the letter and by the "
        f"rule “trend”, and again at {final}. The decay factor is {DECAY_FACTOR:g} unless said."
    )
    yield (
        "- *Bounces* are counted on the constant part of “simple”: a significant fall and then a significant rise, by "
        "the t-statistics of “trend” (of 10 increments), and both of them by at least "
        f"{100 * SHALLOW:g} % of the lowest norm. That last condition was added when the first seeds were there: these "
        "norms have so little noise that a dip of a fraction of a percent is significant (third column). The rule "
        "decays when the rise has levelled off as well. A fall that is much shorter than 10 epochs is not seen."
    )
    yield (
        "- Runs of one seed and setting are the same training until their rates first differ, so differences are "
        "paired. Intervals of means: 95 %, bootstrap over seeds (of initial weights, order and noise; the split into "
        "training and test images is one and the same). Intervals of shares: exact binomial. They are not corrected "
        f"for how many there are. “Equal” is within ±{100 * EQUAL:g} point, interval and all; “same” are the same "
        "trainings."
    )
    yield (
        "- `.venv/bin/python -m benchmarks.control run` trains what is missing (first the runs that choose the "
        "places), then `save` and `report` make all of it."
    )


def _table(header: Row, rows: Iterable[Row]) -> Iterator[str]:
    for number_of_row, row in enumerate((header, *rows)):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        if not number_of_row:
            yield "|---" * len(header) + "|"
    yield ""


def median_and_range(values: Sequence[float], digits: int = 0) -> str:
    """Return "34 (30 to 39)"; "–" for no values."""
    if not values:
        return "–"
    middle, low, high = (number(float(v), digits) for v in (np.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _of(answers: Answers, setting: Setting, part: str = "total") -> list[Movement]:
    return [movements[part] for movements in answers.movements[setting].values()]


def _bounce_tables(answers: Answers) -> Iterator[tuple[str, Row, list[Row]]]:
    rows, decays = [], []
    for setting in answers.settings:
        found = _of(answers, setting)
        rows.append(
            (
                label(setting),
                percent(answers.bounced(setting)),
                f"{sum(m.significant for m in found)} of {len(found)}",
                median_and_range([100 * m.depth for m in found], 1),
                median_and_range([m.norms[0] for m in found]),
                median_and_range([min(m.norms) for m in found]),
                median_and_range([m.minimum for m in found]),
                median_and_range([m.norms[-1] for m in found]),
            )
        )
        for rule, arm, name in (("trend", "abel", "trend"), ("paper", "abel-paper", "Algorithm 1")):
            at: list[tuple[int, ...]] = [getattr(m, rule) for m in found]
            first = [(epochs[0], m) for epochs, m in zip(at, found) if epochs]
            decays.append(
                (
                    label(setting),
                    name,
                    f"{len(first)} of {len(found)}",
                    median_and_range([epoch for epoch, _ in first]),
                    f"{sum(epoch <= m.minimum for epoch, m in first)}",
                    median_and_range([len(epochs) for epochs in at]),
                    median_and_range([len(epochs) for epochs in answers.decays.get((setting, arm), {}).values()]),
                )
            )
    yield (
        "Share of runs whose |w|² bounced; runs in which fall and rise were significant, however shallow; the smaller "
        "of fall and rise; and |w|² after the first epoch, at its lowest, and at the end of the constant rate. Medians "
        "over seeds (and ranges).",
        (
            "setting",
            "bounced",
            "significant",
            "depth, % of the lowest",
            "after epoch 1",
            "lowest",
            "epoch of the lowest",
            "at the end",
        ),
        rows,
    )
    yield (
        "Where the rules would decay on the same traces. A first decay at or before the lowest |w|² took something "
        "else for the minimum. In training each decay changes what follows, hence the last column: "
        f"decays by a bounce in runs that do decay, by {DECAY_FACTOR:g}.",
        (
            "setting",
            "rule",
            "runs with a decay",
            "epoch of the first",
            "of these before the minimum",
            "decays a run",
            "decays in training",
        ),
        decays,
    )


def _layer_tables(answers: Answers) -> Iterator[tuple[str, Row, list[Row]]]:
    header = ("setting", *("total", *LAYERS))
    rows = [
        (label(s), *(f"{sum(m.bounced for m in _of(answers, s, part))}" for part in header[1:]))
        for s in answers.settings
    ]
    most = max(map(len, answers.movements.values()))
    yield f"Of {most} runs a setting, how many bounced, by layer.", header, rows


def _place_tables(answers: Answers) -> Iterator[tuple[str, Row, list[Row]]]:
    rows = []
    for setting in answers.settings:
        if setting not in answers.profiles:
            continue
        means = {place: float(np.mean(scores)) for place, scores in answers.profiles[setting].items()}
        best = answers.tuned[setting]
        near = [place for place, mean in means.items() if mean > means[best] - EQUAL]
        rows.append(
            (
                label(setting),
                _lowest(answers.tuning_minima[setting]),
                number(EPOCHS * best, 0),
                ", ".join(number(EPOCHS * place, 0) for place in sorted(near)),
                " ".join(number(100 * means[place], 1) for place in sorted(means)),
            )
        )
    places = ", ".join(number(EPOCHS * place, 0) for place in plan.PLACES)
    yield (
        f"Epochs, on the tuning seeds. The accuracies are the means for a first decay after epoch {places}. "
        "Where the last of these is best, a later one might be better still.",
        ("setting", "lowest |w|²", "best first decay", f"within {100 * EQUAL:g} point of the best", "accuracies, %"),
        rows,
    )


def _lowest(minima: Sequence[int]) -> str:
    """Return the epochs of the lowest norm; at the end of the constant rate it may not be the lowest."""
    end = plan.first_epoch(max(plan.PLACES), EPOCHS)
    return f"still falling at {end}" if min(minima) >= end else median_and_range(minima)


def _gain_tables(answers: Answers) -> Iterator[tuple[str, Row, list[Row]]]:
    yield (
        f"Final test accuracy, %, decay factor {DECAY_FACTOR:g}.",
        ("setting", *plan.ARMS),
        [(label(s), *(points(answers.mean(s, arm)) for arm in plan.ARMS)) for s in answers.compared],
    )
    rows = []
    for setting in answers.compared:
        gains = [answers.gain(setting, arm) for arm in COMPLEX]
        cells = [f"{points(gain)} {verdict(gain)}" if gain is not None else "–" for gain in gains]
        rows.append((label(setting), percent(answers.bounced(setting)), *cells))
    yield (
        "The same minus “simple”, in points, paired by seed. Where accuracy still rises with the place of the first "
        "decay (the section above), training is not done by the end, and early decays cost.",
        ("setting", "bounced", *COMPLEX),
        rows,
    )


def _sensitivity_tables(answers: Answers) -> Iterator[tuple[str, Row, list[Row]]]:
    rows = []
    for setting in answers.compared:
        factors = sorted({factor for s, _, factor in answers.accuracies if s == setting})
        for factor in factors:
            values = (points(answers.mean(setting, arm, factor)) for arm in WITH_FACTORS)
            rows.append((label(setting), f"{factor:g}", *values))
    note = (
        "Final test accuracy, %, by decay factor; “cosine” has none. "
        f"{plan.TWICE:g} in one decay is where an arm ends that decays twice by {DECAY_FACTOR:g}."
    )
    yield note, ("setting", "decay factor", *WITH_FACTORS), rows


TITLES = (
    "Does the norm bounce, and where do the rules decay?",
    "Which layers bounce?",
    "Do tuned decays come after the minimum?",
    "Do complex schedules help only where the norm bounces?",
    "How much do base rate and decay factor matter?",
)
TABLES = {
    "control_norms.png": _bounce_tables,
    "control_layers.png": _layer_tables,
    "control_places.png": _place_tables,
    "control_gains.png": _gain_tables,
    "control_sensitivity.png": _sensitivity_tables,
}
