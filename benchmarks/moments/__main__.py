"""What does a decay bring, at each moment of a run?

::

    python -m benchmarks.moments control                      # the positive control, minutes
    python -m benchmarks.moments run --minutes 20 --workers 1 # train what is missing, as far as the time allows
    python -m benchmarks.moments report                       # docs/results/moments.md, of what is there

Each trunk is saved with its branches when it is done, into docs/results/moments*.parquet; the same
command goes on from there. The plan is docs/results/moments_plan.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import folder, positive
from benchmarks.moments.plan import all_units, digits_units
from benchmarks.moments.saved import CONTROL, RUNS

SAVED = Path(__file__).parents[2] / "docs" / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moments", description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("run", "control", "report"))
    parser.add_argument("--workers", type=positive(int), default=2, help="processes, a thread each (default 2)")
    parser.add_argument("--minutes", type=positive(float), default=float("inf"), help="begin no trunk after so many")
    parser.add_argument("--saved", type=folder, default=SAVED, help="folder of the tables (default docs/results)")
    given = parser.parse_args(arguments)
    if given.command == "report":
        from benchmarks.moments.page import write_page

        try:
            print(write_page(given.saved))
        except ValueError as error:
            parser.error(str(error))
        return
    from benchmarks.launch import INTERRUPTED
    from benchmarks.lock import AlreadyRunning
    from benchmarks.moments.launch import run_missing

    units, name = (all_units(), RUNS) if given.command == "run" else (digits_units(), CONTROL)
    try:
        missing = run_missing(units, given.saved, name, given.workers, given.minutes)
    except AlreadyRunning as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. Trunks that were done are saved; the same command goes on from there.")
        sys.exit(INTERRUPTED)
    print(f"{missing} trunks are missing" if missing else "all trunks are there")


if __name__ == "__main__":
    main()
