"""The report in the terminal: the two answers and one line an arm, or what too few runs tell instead."""

from __future__ import annotations

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from benchmarks.report.tables import Report
from benchmarks.words import templates


def show(report: Report, console: Console) -> None:
    """Print the answers and the tables over all tasks, no score of too few runs, and where the page is."""
    said = templates("benchmarks.report").get_template("terminal.md.j2").render(report=report)
    console.print(Markdown(said))
    console.print(Text(f"The page: {report.page}"), soft_wrap=True)
