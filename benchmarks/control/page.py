"""The page of the positive control, docs/results/control.md, from the two saved tables alone.

What of the paper's pattern appears is decided here: a verdict a claim, and the numbers behind it. The claims
themselves, and the sentences around the numbers, stand in control.md.j2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.control import plan
from benchmarks.control.answers import COMPLEX, EQUAL, SHALLOW, Answers, answer
from benchmarks.control.figures import draw
from benchmarks.control.plan import ARMS, DECAY_FACTOR, EPOCHS, LAYERS, OTHER_FACTORS, TWICE
from benchmarks.control.study import TABLES
from benchmarks.statistics.estimates import Interval, exact_binomial_interval, mean_interval
from benchmarks.statistics.verdicts import BETTER, EQUIVALENT, SAME, UNDECIDED, WORSE, judged
from benchmarks.words import templates, wrapped

PAGE = "control.md"

YES, PARTLY, NO, OPEN = "appears", "in part", "does not appear", UNDECIDED

Judged = tuple[str, Any]
"""Whether a claim is found here, and the numbers that say so, as its macro in the template takes them."""


def write_page(folder: Path) -> Path:
    """Write page and figures beside the tables in ``folder``; return the page.

    :raises ValueError: if there are no tables
    """
    if not TABLES.path(folder).is_file():
        raise ValueError(f"there is no {TABLES.path(folder).name} in {folder}; run comes first")
    answers = answer(*TABLES.read(folder))
    draw(answers, folder)
    page = folder / PAGE
    page.write_text(render(answers), encoding="utf-8")
    return page


def render(answers: Answers) -> str:
    """Return the text of the page."""
    environment = templates("benchmarks.control")
    environment.filters["verdict"] = verdict
    known = {"plan": plan, "arms": COMPLEX, "shallow": SHALLOW, "equal": EQUAL, "pattern": pattern(answers)}
    return wrapped(environment.get_template(f"{PAGE}.j2").render(known, answers=answers))


def verdict(gain: Interval) -> str:
    """Return what a gain amounts to, a point being equivalent."""
    return judged(gain, EQUAL)


def pattern(answers: Answers) -> dict[str, Judged]:
    """Return the parts of the pattern by name, in the order of the page."""
    smallest, *larger = answers.with_l2()
    of_large, of_small = answers.moved(larger[-1:] or [smallest]), answers.moved([smallest])
    without, bouncing = answers.moved(answers.with_l2(False)), answers.moved(answers.bouncing())
    gains, elsewhere = (answers.gains(answers.bouncing(wanted)) for wanted in (True, False))
    opposite = {YES: NO, NO: YES}
    return {
        "large": (_bounces(of_large), of_large),
        "small": (_does_not_bounce(of_small), {"of": of_small, "larger": larger}),
        "without": (_does_not_bounce(without), without),
        "together": _together(answers),
        "paper": _timely(bouncing, "paper"),
        "trend": _timely(bouncing, "trend"),
        "founding": _founding(answers),
        "help": (_better(gains.values()), gains),
        "place": _place(answers, gains),
        "no_help": (opposite.get(found := _better(elsewhere.values()), found), elsewhere),
        "as_step": _as_step(answers),
        "base_rate": _base_rate(answers),
        "factor": _factor(answers),
    }


def _bounces(moved: pd.DataFrame) -> str:
    share = exact_binomial_interval(moved["bounced"].sum(), len(moved))
    return YES if share.low > 0.5 else NO if share.high < 0.5 else OPEN


def _does_not_bounce(moved: pd.DataFrame) -> str:
    # A norm that still falls at the end may only not have bounced yet.
    return OPEN if moved["falling"].mean() > 0.5 else {YES: NO, NO: YES, OPEN: OPEN}[_bounces(moved)]


def _together(answers: Answers) -> Judged:
    layers = pd.concat([answers.moved(answers.bouncing(), layer) for layer in LAYERS])
    if layers.empty:
        return OPEN, None
    shares = layers.groupby("part", sort=False)["bounced"].mean()
    counts = layers.groupby(["setting", "seed"])["bounced"].sum()
    most = (counts > len(LAYERS) / 2).mean()
    found = YES if most > 0.5 else PARTLY if counts.mean() >= 1 else NO
    return found, {"mean": counts.mean(), "shares": shares}


def _timely(moved: pd.DataFrame, rule: str) -> Judged:
    """Whether a rule would decay first after the minimum, in the runs of settings that bounce."""
    if moved.empty:
        return OPEN, None
    after = int((moved[f"{rule}_first"] > moved["minimum"]).sum())
    values = {"runs": len(moved), "decayed": moved[f"{rule}_first"].count(), "after": after}
    found = YES if after > 0.9 * len(moved) else PARTLY if after > 0.5 * len(moved) else NO
    return found, {**values, "median": moved[rule].map(len).median()}


def _founding(answers: Answers) -> Judged:
    """Whether the best first decay of a tuned step comes after the minimum."""
    rows = []
    for setting in answers.bouncing():
        means, minima = answers.profile(setting).mean(axis=1), answers.tuning_minima.get(setting, [0])
        early, late = means[EPOCHS * means.index <= min(minima)], means[EPOCHS * means.index > max(minima)]
        if len(early) and len(late):
            rows.append((setting, sorted(minima), late.max() - early.max()))
    lasts = {setting: place == answers.tuning["place"].max() for setting, place in answers.tuned.items()}
    others = [lasts[setting] for setting in answers.bouncing(False) if setting in lasts]
    margins = [margin for *_, margin in rows]
    if not margins:
        found = OPEN
    elif min(margins) > EQUAL:
        # Where the last place tried is best, a later one may be better still, whatever the norm does.
        found = PARTLY if all(lasts.values()) else YES
    else:
        found = NO if max(margins) < -EQUAL else PARTLY if max(margins) > EQUAL else OPEN
    return found, {"rows": rows, "last": sum(others), "others": len(others)}


def _better(gains: Iterable[Interval]) -> str:
    verdicts = {verdict(gain) for gain in gains}
    if not verdicts:
        return OPEN
    return YES if verdicts == {BETTER} else PARTLY if BETTER in verdicts else NO


def _place(answers: Answers, gains: dict[tuple[str, str], Interval]) -> Judged:
    """Whether the arms that are better where it bounces owe it to the place, not to the lower last rate."""
    low = answers.gains(answers.bouncing(), over_factor=TWICE)
    rows = {key: low[key] for key, gain in gains.items() if verdict(gain) == BETTER and key in low}
    found = _better(rows.values())
    return OPEN if found == NO and UNDECIDED in map(verdict, rows.values()) else found, rows


def _as_step(answers: Answers) -> Judged:
    gains = {setting: answers.gain(setting, "abel", over="step") for setting in answers.bouncing()}
    gains = {setting: gain for setting, gain in gains.items() if gain}
    verdicts = {verdict(gain) for gain in gains.values() if gain}
    if not verdicts or verdicts == {UNDECIDED}:
        return OPEN, gains
    return YES if verdicts <= {EQUIVALENT, BETTER, SAME} else NO if verdicts == {WORSE} else PARTLY, gains


def _least(answers: Answers, arms: Sequence[str], settings: Sequence[str], factors: Sequence[float]) -> Judged:
    """Whether ABEL's best and worst are closer to each other than those of each other arm, by seed."""
    own = answers.spread("abel", settings, factors)
    if len(own) < 2:
        return OPEN, {}
    spreads = {arm: answers.spread(arm, settings, factors) for arm in arms if arm != "abel"}
    excess = {arm: mean_interval((of_arm - own).dropna()) for arm, of_arm in spreads.items()}
    more = [gap.low > 0 for gap in excess.values()]
    found = YES if all(more) else NO if any(gap.high < 0 for gap in excess.values()) else PARTLY if any(more) else OPEN
    return found, {"own": own.mean(), "excess": excess}


def _base_rate(answers: Answers) -> Judged:
    settings = [setting for setting in answers.compared if setting in answers.with_l2()]
    found, values = _least(answers, ARMS, settings, [DECAY_FACTOR])
    means = {arm: [answers.runs(setting, arm)["accuracy"].mean() for setting in settings] for arm in ARMS}
    return found, {**values, "falls": {arm: of_arm[-1] - np.nanmax(of_arm) for arm, of_arm in means.items()}}


def _factor(answers: Answers) -> Judged:
    if not (settings := answers.bouncing()):
        return OPEN, None
    setting = max(settings, key=lambda name: answers.settings[name][1])  # where the decays matter most
    found, values = _least(answers, ("simple", "abel"), [setting], (DECAY_FACTOR, *OTHER_FACTORS))
    return found, {**values, "setting": setting}
