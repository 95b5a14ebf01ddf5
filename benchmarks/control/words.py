"""What of the paper's pattern appears in the positive control, in words made from the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.control.answers import COMPLEX, EQUAL, Answers, Movement, mean_interval, verdict
from benchmarks.control.plan import ARMS, DECAY_FACTOR, EPOCHS, LAYERS, OTHER_FACTORS, TWICE, Setting
from benchmarks.report.words import number, percent
from benchmarks.statistics.estimates import Interval, exact_binomial_interval

YES, PARTLY, NO, OPEN = "appears", "in part", "does not appear", "undecided"


class Finding(NamedTuple):
    """One part of the pattern: the claim, whether it is found here, and the numbers that say so."""

    claim: str
    found: str
    numbers: str


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


def summary(answers: Answers) -> str:
    """Return the page in a paragraph."""
    setting = showcase(answers)
    found = _movements(answers, [setting])
    first, lowest, epoch, last = _medians(found)
    without = _movements(answers, [s for s in answers.settings if not s[0]])
    low = _listed(answers, setting, TWICE)
    others = [s for s in _bouncing(answers) if s != setting]
    elsewhere = [verdict(gain) for gain in _gains(answers, _bouncing(answers, False), COMPLEX).values()]
    trained = [v for v in elsewhere if v != "same"]
    return (
        f"At {label(setting)}, |w|² falls from {first} to {lowest} at epoch {epoch} and grows to {last} (medians): it "
        f"bounces in {sum(m.bounced for m in found)} of {len(found)} runs, and without L2 in "
        f"{sum(m.bounced for m in without)} of {len(without)}. There, schedules that decay earlier than “simple” (one "
        f"decay near the end) differ from it, in points of test accuracy, by {_listed(answers, setting)}"
        + (f"; from a “simple” that decays by {TWICE:g}, and so ends as low as they do, by {low}" if low else "")
        + "".join(f". At {label(s)}, which bounces as well: {_listed(answers, s)}" for s in others)
        + f". In settings that do not bounce, {len(trained)} of {len(elsewhere)} comparisons are with a schedule that "
        f"trained otherwise than “simple”: {trained.count('better')} better, {trained.count('worse')} worse, where "
        "training was not done by the end; in the others the rule saw nothing, and left “simple” as it is."
    )


def _listed(answers: Answers, setting: Setting, over_factor: float = DECAY_FACTOR) -> str:
    gains = {arm: answers.gain(setting, arm, over_factor=over_factor) for arm in COMPLEX}
    return ", ".join(f"{points(gain)} ({arm})" for arm, gain in gains.items() if gain is not None)


def showcase(answers: Answers) -> Setting:
    """Return the setting in which the bounce is clearest: most runs, then the highest rate."""
    return max(answers.settings, key=lambda setting: (answers.bounced(setting).estimate, setting))


def pattern(answers: Answers) -> Iterator[Finding]:
    """Yield the parts of the pattern, in the order of the page."""
    for claim, check in CLAIMS.items():
        yield Finding(claim, *check(answers))


def _extreme(answers: Answers, which: Callable[..., Setting], l2: bool) -> Setting:
    return which((s for s in answers.settings if bool(s[0]) == l2), key=lambda setting: setting[1])


def _bouncing(answers: Answers, wanted: bool = True) -> list[Setting]:
    return [setting for setting in answers.settings if answers.bounces(setting) == wanted]


def _movements(answers: Answers, settings: Sequence[Setting], part: str = "total") -> list[Movement]:
    return [movements[part] for setting in settings for movements in answers.movements[setting].values()]


def _medians(found: Sequence[Movement]) -> list[str]:
    """Medians of the first norm, of the lowest and its epoch, and of the last."""
    values = zip(*((m.norms[0], min(m.norms), m.minimum, m.norms[-1]) for m in found))
    return [number(float(np.median(column)), 0) for column in values]


def _share(answers: Answers, settings: Sequence[Setting], wanted: bool) -> tuple[str, str]:
    """Whether the total bounces, or does not, in most runs of the settings."""
    found = _movements(answers, settings)
    share = exact_binomial_interval(sum(movement.bounced for movement in found), len(found))
    clear = share.low > 0.5 if wanted else share.high < 0.5
    opposite = share.high < 0.5 if wanted else share.low > 0.5
    moved = ""
    if len(settings) == 1:
        first, lowest, epoch, last = _medians(found)
        moved = f"; |w|² {first} → {lowest} (epoch {epoch}) → {last}, medians"
    else:
        shallow = [movement.depth for movement in found if movement.significant and not movement.bounced]
        if shallow:
            moved = f"; {len(shallow)} dip significantly, by at most {number(100 * max(shallow), 2)} %"
        moved += f"; |w|² grew from first to last in {sum(m.norms[-1] > m.norms[0] for m in found)} of {len(found)}"
    where = label(settings[0]) if len(settings) == 1 else f"{len(settings)} base rates"
    bounced = sum(movement.bounced for movement in found)
    falling = sum(movement.falling for movement in found)
    if not wanted and falling > len(found) / 2:
        clear, opposite = False, False
        moved += f"; not within these epochs: {falling} end at their lowest"
    return (
        YES if clear else NO if opposite else OPEN,
        f"{where}: {bounced} of {len(found)} runs bounce, {percent(share)}{moved}",
    )


def _large(answers: Answers) -> tuple[str, str]:
    return _share(answers, [_extreme(answers, max, True)], wanted=True)


def _small(answers: Answers) -> tuple[str, str]:
    smallest = _extreme(answers, min, True)
    found, text = _share(answers, [smallest], wanted=False)
    others = [
        f"at {setting[1]:g} {sum(m.bounced for m in _movements(answers, [setting]))} of "
        f"{len(answers.movements[setting])}"
        for setting in answers.settings
        if setting[0] and setting != smallest
    ]
    return found, f"{text}; {', '.join(others)}"


def _without(answers: Answers) -> tuple[str, str]:
    return _share(answers, [setting for setting in answers.settings if not setting[0]], wanted=False)


def _together(answers: Answers) -> tuple[str, str]:
    settings = _bouncing(answers)
    if not settings:
        return OPEN, "no setting bounces"
    counts = [
        sum(run[layer].bounced for layer in LAYERS)
        for setting in settings
        for run in answers.movements[setting].values()
    ]
    most = np.mean([count > len(LAYERS) / 2 for count in counts])
    by_layer = {layer: np.mean([m.bounced for m in _movements(answers, settings, layer)]) for layer in LAYERS}
    return (
        YES if most > 0.5 else PARTLY if np.mean(counts) >= 1 else NO,
        f"{number(float(np.mean(counts)), 1)} of {len(LAYERS)} layers bounce in a run where the total does: "
        + ", ".join(f"{layer} {share:.0%}".replace("%", " %") for layer, share in by_layer.items()),
    )


def _timely(answers: Answers, rule: str) -> tuple[str, str]:
    found = _movements(answers, _bouncing(answers))
    firsts = [(getattr(m, rule)[0], m.minimum) for m in found if getattr(m, rule)]
    after = sum(epoch > minimum for epoch, minimum in firsts)
    literal = [len(getattr(m, rule)) for m in found]
    text = (
        f"of {len(found)} runs in settings that bounce, it decays in {len(firsts)}, first after the minimum in "
        f"{after}; decays a run: median {number(float(np.median(literal or [0])), 0)}"
    )
    if not found:
        return OPEN, text
    return (YES if after > 0.9 * len(found) else PARTLY if after > 0.5 * len(found) else NO), text


def _founding(answers: Answers) -> tuple[str, str]:
    """Whether the best first decay of a tuned step comes after the minimum."""
    texts, margins = [], []
    for setting in _bouncing(answers):
        means = {place: float(np.mean(scores)) for place, scores in answers.profiles.get(setting, {}).items()}
        minima = answers.tuning_minima.get(setting, [])
        early = [mean for place, mean in means.items() if EPOCHS * place <= min(minima, default=0)]
        late = [mean for place, mean in means.items() if EPOCHS * place > max(minima, default=0)]
        if early and late:
            margins.append(max(late) - max(early))
            texts.append(
                f"{label(setting)}: best after epoch {EPOCHS * answers.tuned[setting]:.0f}, lowest |w|² at "
                f"{', '.join(map(str, sorted(minima)))}; the best place after it is better than the best before by "
                f"{number(100 * margins[-1], 1)} points"
            )
    if not margins:
        return OPEN, "no setting bounces, or no place was tried on either side of the minimum"
    found = YES if min(margins) > EQUAL else NO if max(margins) < -EQUAL else PARTLY if max(margins) > EQUAL else OPEN
    lasts = {setting: place == max(answers.profiles[setting]) for setting, place in answers.tuned.items()}
    others = [last for setting, last in lasts.items() if not answers.bounces(setting)]
    if found == YES and all(lasts.values()):
        found = PARTLY
    texts.append(f"where the norm does not bounce the last place tried is best in {sum(others)} of {len(others)}")
    return found, "; ".join(texts)


def _gains(answers: Answers, settings: Sequence[Setting], arms: Sequence[str]) -> dict[tuple[Setting, str], Interval]:
    gains = {(setting, arm): answers.gain(setting, arm) for setting in settings for arm in arms}
    return {key: gain for key, gain in gains.items() if gain is not None}


def _counted(gains: dict[tuple[Setting, str], Interval]) -> str:
    """Return how many gains are better, equal, worse and open, and between what they lie."""
    verdicts = [verdict(gain) for gain in gains.values()]
    counts = ", ".join(
        f"{verdicts.count(v)} {v}" for v in ("better", "equal", "worse", "open", "same") if v in verdicts
    )
    low, high = (number(100 * end([gain.estimate for gain in gains.values()]), 1) for end in (min, max))
    cosine = {setting: gain for (setting, arm), gain in gains.items() if arm == "cosine"}
    listed = "; ".join(f"{points(gain)} ({label(setting)})" for setting, gain in cosine.items())
    return f"{counts}; differences from {low} to {high} points" + (f". Cosine alone: {listed}" if listed else "")


def _help(answers: Answers) -> tuple[str, str]:
    gains = _gains(answers, _bouncing(answers), COMPLEX)
    verdicts = [verdict(gain) for gain in gains.values()]
    if not verdicts:
        return OPEN, "no setting bounces"
    found = YES if set(verdicts) == {"better"} else PARTLY if "better" in verdicts else NO
    return found, f"{len(COMPLEX)} arms against “simple”: {_counted(gains)}"


def _no_help(answers: Answers) -> tuple[str, str]:
    gains = _gains(answers, _bouncing(answers, False), COMPLEX)
    verdicts = [verdict(gain) for gain in gains.values()]
    if not verdicts:
        return OPEN, "every setting bounces"
    found = NO if set(verdicts) == {"better"} else PARTLY if "better" in verdicts else YES
    return found, f"{len(COMPLEX)} arms against “simple”: {_counted(gains)}"


def _place(answers: Answers) -> tuple[str, str]:
    """Whether the arms that are better where it bounces owe it to the place, not to the lower last rate."""
    better = [key for key, gain in _gains(answers, _bouncing(answers), COMPLEX).items() if verdict(gain) == "better"]
    beyond = {key: answers.gain(*key, over_factor=TWICE) for key in better}
    gains = {key: gain for key, gain in beyond.items() if gain is not None}
    if not gains:
        return OPEN, "no such arm is better, or “simple” was not run so"
    verdicts = [verdict(gain) for gain in gains.values()]
    found = YES if set(verdicts) == {"better"} else PARTLY if "better" in verdicts else NO
    if found == NO and "open" in verdicts:
        found = OPEN
    listed = ", ".join(f"{points(gain)} {verdict(gain)} ({arm}, {label(s)})" for (s, arm), gain in gains.items())
    return found, f"minus a “simple” that decays by {TWICE:g} at once, and so ends as low: {listed}"


def _as_step(answers: Answers) -> tuple[str, str]:
    gains = {(s, "abel"): g for s in _bouncing(answers) if (g := answers.gain(s, "abel", over="step")) is not None}
    verdicts = {verdict(gain) for gain in gains.values()}
    if not verdicts:
        return OPEN, "no setting bounces"
    found = YES if verdicts <= {"equal", "better", "same"} else NO if verdicts == {"worse"} else PARTLY
    return (OPEN if verdicts == {"open"} else found), "abel minus step, in points: " + "; ".join(
        f"{points(gain)} ({label(setting)})" for (setting, _), gain in gains.items()
    )


def _least(spreads: dict[str, dict[int, float]]) -> tuple[str, str]:
    """Whether ABEL's best and worst are closer to each other than those of each other arm, by seed."""
    own = spreads.pop("abel")
    if len(own) < 2:
        return OPEN, "too few runs"
    excess = {arm: mean_interval([of_arm[seed] - own[seed] for seed in own]) for arm, of_arm in spreads.items()}
    text = (
        f"best minus worst accuracy of a seed: abel {number(100 * float(np.mean(list(own.values()))), 1)} points; "
        f"the others minus that: {', '.join(f'{arm} {points(gap)}' for arm, gap in excess.items())}"
    )
    more = [gap.low > 0 for gap in excess.values()]
    less = [gap.high < 0 for gap in excess.values()]
    return (YES if all(more) else NO if any(less) else PARTLY if any(more) else OPEN), text


def _base_rate(answers: Answers) -> tuple[str, str]:
    settings = [setting for setting in answers.compared if setting[0]]
    found, text = _least({arm: answers.spread(arm, settings, [DECAY_FACTOR]) for arm in ARMS})
    fall = {}
    for arm in ARMS:
        means = [mean.estimate for setting in settings if (mean := answers.mean(setting, arm))]
        fall[arm] = number(100 * (means[-1] - max(means)), 1)
    listed = ", ".join(f"{arm} {value}" for arm, value in fall.items())
    return found, f"{text}. Accuracy at the largest rate minus the arm's best: {listed}"


def _factor(answers: Answers) -> tuple[str, str]:
    factors = (DECAY_FACTOR, *OTHER_FACTORS)
    settings = _bouncing(answers)
    if not settings:
        return OPEN, "no setting bounces"
    # At the largest rate, where the decays matter most.
    setting = max(settings, key=lambda s: s[1])
    found, text = _least({arm: answers.spread(arm, [setting], factors) for arm in ("simple", "abel")})
    listed = ", ".join(f"{factor:g}" for factor in factors)
    return found, f"{label(setting)}, factors {listed}: {text}. Every decay is by that factor, and “simple” has but one"


CLAIMS: dict[str, Callable[[Answers], tuple[str, str]]] = {
    "with L2 and a large rate the norm bounces": _large,
    "with L2 and a small rate it does not bounce": _small,
    "without L2 it does not bounce": _without,
    "most layers bounce with the total": _together,
    "Algorithm 1 decays after the minimum": lambda answers: _timely(answers, "paper"),
    "the rule “trend” decays after the minimum": lambda answers: _timely(answers, "trend"),
    "tuned step-wise decays come after the minimum": _founding,
    "complex schedules help where the norm bounces": _help,
    "what helps is the place of the decays, not the lower rate at the end": _place,
    "complex schedules do not help where it does not bounce": _no_help,
    "ABEL (trend) is as good as the tuned step": _as_step,
    "ABEL (trend) is less sensitive to the base rate than any other": _base_rate,
    "ABEL (trend) is less sensitive to the decay factor than “simple”": _factor,
}
