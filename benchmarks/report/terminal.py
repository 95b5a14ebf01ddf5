"""The report in the terminal: the two answers and one line an arm, or what too few runs tell instead."""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.report.tables import Report

MOST_PROBLEMS = 5


def show(report: Report, console: Console) -> None:
    """Print the answers and the tables over all tasks, no score of too few runs, and where the page is."""
    for question, sentences in (report.works or report.answers).items():
        console.print(
            Panel(Text("\n".join(f"• {sentence}" for sentence in sentences)), title=question, title_align="left")
        )
    for table in report.tables:
        if table.title.startswith("All tasks") and not report.works:
            rich = RichTable(title=table.title, title_justify="left", caption=table.note, caption_justify="left")
            # The arm, the runs, mean and IQM: more does not fit into 80 columns.
            shown = [0, 2, 3, 4]
            for column in shown:
                rich.add_column(Text(table.header[column]), justify="left" if column == 0 else "right", no_wrap=True)
            for row in table.rows:
                rich.add_row(*(Text(row[column]) for column in shown))
            console.print(rich)
    for problem in report.problems[:MOST_PROBLEMS]:
        console.print(Text(f"left out: {problem}", style="yellow"))
    if len(report.problems) > MOST_PROBLEMS:
        console.print(
            Text(f"and {len(report.problems) - MOST_PROBLEMS} more lines like these, in the page", style="yellow")
        )
    if not report.works:
        console.print(Text(f"{report.counts}."))
    console.print(Text(f"The page: {report.page}"), soft_wrap=True)
