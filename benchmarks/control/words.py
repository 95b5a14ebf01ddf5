"""What of the paper's pattern appears in the positive control: a verdict a claim, and the numbers behind it.

The claims themselves, and the sentences around the numbers, stand in control.md.j2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.control.answers import COMPLEX, EQUAL, Answers, Movement, mean_interval, verdict
from benchmarks.control.plan import ARMS, DECAY_FACTOR, EPOCHS, LAYERS, OTHER_FACTORS, TWICE, Setting
from benchmarks.report.words import number
from benchmarks.statistics.estimates import Interval, exact_binomial_interval

YES, PARTLY, NO, OPEN = "appears", "in part", "does not appear", "undecided"

Values = dict[str, Any]


class Finding(NamedTuple):
    """One part of the pattern: its name in the template, whether it is found here, and the numbers that say so."""

    name: str
    found: str
    values: Values


def label(setting: Setting) -> str:
    """Return a setting in words."""
    l2, learning_rate = setting
    return f"{f'L2 {l2:g}' if l2 else 'no L2'}, rate {learning_rate:g}"


def points(value: Interval | None) -> str:
    """Return an accuracy or a difference of accuracies in percent, with its interval."""
    if value is None:
        return "–"
    estimate, low, high = (number(100 * end, 1) for end in value)
    return f"{estimate} [{low}, {high}]"


def showcase(answers: Answers) -> Setting:
    """Return the setting in which the bounce is clearest: most runs, then the highest rate."""
    return max(answers.settings, key=lambda setting: (answers.bounced(setting).estimate, setting))


def pattern(answers: Answers) -> list[Finding]:
    """Return the parts of the pattern, in the order of the page."""
    return [Finding(name, *check(answers)) for name, check in CLAIMS.items()]


def bouncing(answers: Answers, wanted: bool = True) -> list[Setting]:
    """Return the settings in which most runs bounce, or do not."""
    return [setting for setting in answers.settings if answers.bounces(setting) == wanted]


def gains(answers: Answers, settings: Sequence[Setting], **over: float) -> dict[tuple[str, str], Interval]:
    """Return what each complex arm adds to "simple", by setting and arm."""
    found = {(label(s), arm): answers.gain(s, arm, **over) for s in settings for arm in COMPLEX}
    return {key: gain for key, gain in found.items() if gain is not None}


def moved(answers: Answers, settings: Sequence[Setting], part: str = "total") -> dict[str, Any]:
    """Return how the norm of a part moved in these settings: counts, and medians over runs."""
    found: list[Movement] = [m[part] for setting in settings for m in answers.movements[setting].values()]
    values = zip(*((m.norms[0], min(m.norms), m.minimum, m.norms[-1]) for m in found))
    first, lowest, epoch, last = (float(np.median(column)) for column in values)
    shallow = [m.depth for m in found if m.significant and not m.bounced]
    bounced = sum(m.bounced for m in found)
    return {
        **{"runs": len(found), "bounced": bounced, "share": exact_binomial_interval(bounced, len(found))},
        **{"first": first, "lowest": lowest, "epoch": epoch, "last": last, "settings": list(settings)},
        **{"shallow": len(shallow), "deepest": max(shallow, default=0.0)},
        "grown": sum(m.norms[-1] > m.norms[0] for m in found),
        "falling": sum(m.falling for m in found),
    }


def _share(answers: Answers, settings: Sequence[Setting], wanted: bool) -> tuple[str, Values]:
    """Whether the total bounces, or does not, in most runs of the settings."""
    values = moved(answers, settings)
    share = values["share"]
    clear, opposite = share.low > 0.5, share.high < 0.5
    if not wanted:
        # A norm that still falls at the end may only not have bounced yet.
        clear, opposite = (opposite, clear) if values["falling"] <= values["runs"] / 2 else (False, False)
    return YES if clear else NO if opposite else OPEN, values


def _by_rate(answers: Answers, which: Callable[..., Setting]) -> Setting:
    return which((s for s in answers.settings if s[0]), key=lambda setting: setting[1])


def _small(answers: Answers) -> tuple[str, Values]:
    smallest = _by_rate(answers, min)
    found, values = _share(answers, [smallest], wanted=False)
    others = {s[1]: moved(answers, [s]) for s in answers.settings if s[0] and s != smallest}
    return found, {**values, "others": others}


def _together(answers: Answers) -> tuple[str, Values]:
    runs = [run for setting in bouncing(answers) for run in answers.movements[setting].values()]
    if not runs:
        return OPEN, {}
    counts = [sum(run[layer].bounced for layer in LAYERS) for run in runs]
    most = np.mean([count > len(LAYERS) / 2 for count in counts])
    shares = {layer: float(np.mean([run[layer].bounced for run in runs])) for layer in LAYERS}
    return YES if most > 0.5 else PARTLY if np.mean(counts) >= 1 else NO, {"mean": np.mean(counts), "shares": shares}


def _timely(answers: Answers, rule: str) -> tuple[str, Values]:
    found = [run["total"] for setting in bouncing(answers) for run in answers.movements[setting].values()]
    firsts = [(getattr(m, rule)[0], m.minimum) for m in found if getattr(m, rule)]
    after = sum(epoch > minimum for epoch, minimum in firsts)
    median = float(np.median([len(getattr(m, rule)) for m in found] or [0]))
    verdict_ = YES if after > 0.9 * len(found) else PARTLY if after > 0.5 * len(found) else NO
    values = {"runs": len(found), "decayed": len(firsts), "after": after, "median": median}
    return verdict_ if found else OPEN, values


def _founding(answers: Answers) -> tuple[str, Values]:
    """Whether the best first decay of a tuned step comes after the minimum."""
    rows = []
    for setting in bouncing(answers):
        means = {place: float(np.mean(scores)) for place, scores in answers.profiles.get(setting, {}).items()}
        minima = answers.tuning_minima.get(setting, [])
        early = [mean for place, mean in means.items() if EPOCHS * place <= min(minima, default=0)]
        late = [mean for place, mean in means.items() if EPOCHS * place > max(minima, default=0)]
        if early and late:
            rows.append((label(setting), EPOCHS * answers.tuned[setting], sorted(minima), max(late) - max(early)))
    margins = [row[-1] for row in rows]
    if not margins:
        return OPEN, {"rows": [], "last": 0, "others": 0}
    found = YES if min(margins) > EQUAL else NO if max(margins) < -EQUAL else PARTLY if max(margins) > EQUAL else OPEN
    lasts = {setting: place == max(answers.profiles[setting]) for setting, place in answers.tuned.items()}
    others = [last for setting, last in lasts.items() if not answers.bounces(setting)]
    values = {"rows": rows, "last": sum(others), "others": len(others)}
    return PARTLY if found == YES and all(lasts.values()) else found, values


def counts(found: dict[tuple[str, str], Interval]) -> Values:
    """Return how many gains are better, equal, worse, open and the same, and between what they lie."""
    verdicts = [verdict(gain) for gain in found.values()]
    known = {v: verdicts.count(v) for v in ("better", "equal", "worse", "open", "same") if v in verdicts}
    estimates = [gain.estimate for gain in found.values()]
    cosine = {setting: gain for (setting, arm), gain in found.items() if arm == "cosine"}
    return {"counts": known, "low": min(estimates), "high": max(estimates), "cosine": cosine} if found else {}


def _graded(verdicts: set[str], good: set[str]) -> str:
    return YES if verdicts <= good else PARTLY if verdicts & good else NO


def _help(answers: Answers) -> tuple[str, Values]:
    values = counts(gains(answers, bouncing(answers)))
    return _graded(set(values["counts"]), {"better"}) if values else OPEN, values


def _no_help(answers: Answers) -> tuple[str, Values]:
    values = counts(gains(answers, bouncing(answers, False)))
    opposite = {YES: NO, PARTLY: PARTLY, NO: YES}
    return opposite[_graded(set(values["counts"]), {"better"})] if values else OPEN, values


def _place(answers: Answers) -> tuple[str, Values]:
    """Whether the arms that are better where it bounces owe it to the place, not to the lower last rate."""
    better = [key for key, gain in gains(answers, bouncing(answers)).items() if verdict(gain) == "better"]
    low = gains(answers, bouncing(answers), over_factor=TWICE)
    rows = [(arm, setting, low[setting, arm]) for setting, arm in better if (setting, arm) in low]
    verdicts = {verdict(gain) for *_, gain in rows}
    if not rows:
        return OPEN, {"rows": []}
    found = _graded(verdicts, {"better"})
    return OPEN if found == NO and "open" in verdicts else found, {"rows": rows}


def _as_step(answers: Answers) -> tuple[str, Values]:
    rows = [(label(s), g) for s in bouncing(answers) if (g := answers.gain(s, "abel", over="step")) is not None]
    verdicts = {verdict(gain) for _, gain in rows}
    if not rows or verdicts == {"open"}:
        return OPEN, {"rows": rows}
    found = YES if verdicts <= {"equal", "better", "same"} else NO if verdicts == {"worse"} else PARTLY
    return found, {"rows": rows}


def _least(spreads: dict[str, dict[int, float]]) -> tuple[str, Values]:
    """Whether ABEL's best and worst are closer to each other than those of each other arm, by seed."""
    own = spreads.pop("abel")
    if len(own) < 2:
        return OPEN, {"own": float("nan"), "excess": {}}
    excess = {arm: mean_interval([of_arm[seed] - own[seed] for seed in own]) for arm, of_arm in spreads.items()}
    more = [gap.low > 0 for gap in excess.values()]
    found = YES if all(more) else NO if any(gap.high < 0 for gap in excess.values()) else PARTLY if any(more) else OPEN
    return found, {"own": float(np.mean(list(own.values()))), "excess": excess}


def _base_rate(answers: Answers) -> tuple[str, Values]:
    settings = [setting for setting in answers.compared if setting[0]]
    found, values = _least({arm: answers.spread(arm, settings, [DECAY_FACTOR]) for arm in ARMS})
    falls = {}
    for arm in ARMS:
        means = [mean.estimate for setting in settings if (mean := answers.mean(setting, arm))]
        falls[arm] = means[-1] - max(means)
    return found, {**values, "falls": falls}


def _factor(answers: Answers) -> tuple[str, Values]:
    if not (settings := bouncing(answers)):
        return OPEN, {}
    setting = max(settings, key=lambda s: s[1])  # where the decays matter most
    factors = (DECAY_FACTOR, *OTHER_FACTORS)
    found, values = _least({arm: answers.spread(arm, [setting], factors) for arm in ("simple", "abel")})
    return found, {**values, "setting": label(setting), "factors": factors}


CLAIMS: dict[str, Callable[[Answers], tuple[str, Values]]] = {
    "large": lambda answers: _share(answers, [_by_rate(answers, max)], wanted=True),
    "small": _small,
    "without": lambda answers: _share(answers, [s for s in answers.settings if not s[0]], wanted=False),
    "together": _together,
    "paper": lambda answers: _timely(answers, "paper"),
    "trend": lambda answers: _timely(answers, "trend"),
    "founding": _founding,
    "help": _help,
    "place": _place,
    "no_help": _no_help,
    "as_step": _as_step,
    "base_rate": _base_rate,
    "factor": _factor,
}
"""Name of a claim's macro in the template -> whether it is found, and the numbers."""
