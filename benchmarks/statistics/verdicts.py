"""What a difference amounts to, in the same words on all pages."""

from __future__ import annotations

from benchmarks.statistics.estimates import Interval

MARGIN = 0.05
"""Of the normalised score, fixed before any result is seen."""

WIDE_MARGIN = 2 * MARGIN
"""The second margin that is asked for."""

BETTER, WORSE, EQUIVALENT, SAME, UNDECIDED = "better", "worse", "equivalent", "the same", "undecided"


def judged(difference: Interval | None, margin: float = 0.0, wide: float = 0.0) -> str:
    """Return what a difference amounts to, by its interval.

    :param margin: within which all of the interval is "equivalent"; 0 where that is not asked
    :param wide: a second margin, of which the verdict says so if all of the interval is within it
    :return: "better" or "worse" if the interval excludes 0, "the same" if it is 0, else "undecided"

    >>> judged(Interval(0.02, 0.01, 0.04), 0.05), judged(Interval(0.05, 0.01, 0.09), 0.05, 0.1), judged(None)
    ('equivalent', 'better, within 0.10', 'undecided')
    """
    if difference is None:
        return UNDECIDED
    if difference.low == difference.high == 0:
        return SAME
    reach = max(-difference.low, difference.high)
    if reach < margin:
        return EQUIVALENT
    verdict = BETTER if difference.low > 0 else WORSE if difference.high < 0 else UNDECIDED
    return f"{verdict}, within {wide:.2f}" if reach < wide else verdict
