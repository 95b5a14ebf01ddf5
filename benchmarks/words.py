"""Numbers as they are printed, and the templates that hold the sentences around them."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import ArrayLike

from benchmarks.colors import NAMES
from benchmarks.statistics.equivalence import Verdict
from benchmarks.statistics.estimates import Interval, exact_binomial_interval
from benchmarks.statistics.verdicts import BETTER, SAME, UNDECIDED, WORSE

WIDTH = 120
"""Of a line of Markdown."""


class Grid(NamedTuple):
    """A table of text; what there is to say of it stands in a template."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def number(value: float, digits: int = 2) -> str:
    """Return a number with a true minus sign, and none on zero; "–" where there is none.

    >>> number(-0.001), number(-1.5)
    ('0.00', '−1.50')
    """
    if value != value:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{digits}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 and text.startswith("-") else text).replace("-", "−")


def interval(value: Interval | None, digits: int = 2) -> str:
    """Return "0.93 [0.90, 0.96]"; a single run has no interval, and what there is none of is "–"."""
    if value is None:
        return "–"
    if value.low == float("-inf"):
        return f"{number(value.estimate, digits)} [?]"
    return f"{number(value.estimate, digits)} [{number(value.low, digits)}, {number(value.high, digits)}]"


def ranged(values: ArrayLike, digits: int = 0) -> str:
    """Return median, lowest and highest, "34 (30 to 39)"; "–" for no values, or where one is not known."""
    array = np.asarray(values, dtype=float)
    if not array.size or np.isnan(array).any():
        return "–"
    middle, low, high = (number(value, digits) for value in (np.median(array), array.min(), array.max()))
    return middle if low == high else f"{middle} ({low} to {high})"


def percent(value: Interval) -> str:
    """Return "20 % [1, 72]"."""
    return f"{value.estimate:.0%} [{100 * value.low:.0f}, {100 * value.high:.0f}]".replace("%", " %")


def furthest(value: Interval) -> str:
    """Return the largest difference, to either side, that an interval does not exclude."""
    return number(max(abs(value.low), abs(value.high)))


def judged_as(judged: Verdict) -> str:
    """Return the verdict in a word, and of a difference to which side."""
    if judged.verdict == "different":
        return BETTER if judged.mean.estimate > 0 else WORSE
    return SAME if judged.verdict == UNDECIDED and not any(judged.mean) else judged.verdict


def cells(header: Sequence[str], rows: Iterable[Iterable[object]]) -> Grid:
    """Return a table of values as text: an interval, a number or a count as such, "–" for what is not there.

    >>> cells(("arm", "runs", "mean", "IQM"), [("abel", 1000, 0.5, None)]).rows
    [('abel', '1,000', '0.50', '–')]
    """
    return Grid(tuple(header), [tuple(map(_cell, row)) for row in rows])


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Interval):
        return interval(value)
    return f"{value:,}" if isinstance(value, Integral) else number(float(value))  # type: ignore[arg-type]


def escaped(text: str) -> str:
    """Return the text for Markdown on one line, nothing in it read as markup."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in "|\\`*_[]" else character for character in text)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; what is in its cells is text, never markup."""
    lines = ["| " + " | ".join(map(escaped, row)) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def templates(package: str, *, autoescape: bool = False) -> Environment:
    """Return the templates that lie beside the modules of a package, with the formats of this module as filters."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    formats = {f.__name__: f for f in (number, interval, ranged, percent, furthest, judged_as, escaped)} | {
        "share": exact_binomial_interval
    }
    environment.filters.update(formats, grid=lambda table: grid(*table), arm=lambda arm: NAMES.get(arm, arm))
    return environment


def wrapped(markdown: str) -> str:
    """Fill paragraphs and lists, whose lines a template cuts where its code stood; leave tables, headings and code.

    >>> print(wrapped("# Title\\n\\na\\nb\\n- c\\n  d\\n"), end="")
    # Title
    <BLANKLINE>
    a b
    - c d
    """
    filled: list[str] = []
    prose: list[str] = []
    code = False
    for line in [*markdown.splitlines(), ""]:
        code ^= line.startswith("```")
        apart = code or not line.strip() or line.startswith(("| ", "|-", "#", "!", "```"))
        if prose and (apart or line.startswith("- ")):
            indent = "  " * prose[0].startswith("- ")
            filled += textwrap.wrap(" ".join(prose), WIDTH, subsequent_indent=indent, break_on_hyphens=False)
            prose = []
        (filled if apart else prose).append(line if apart else line.strip())
    return "\n".join(filled)


def text(template: Template, macro: str, *values: object) -> str:
    """Return what a macro of a template says, on one line."""
    return " ".join(getattr(template.module, macro)(*values).split())


def sentences(template: Template, macro: str, *values: object) -> list[str]:
    """Return what a macro of a template says, a line of it a sentence."""
    said = getattr(template.module, macro)(*values)
    return [line.strip() for line in said.splitlines() if line.strip()]
