"""Measurements of the package and of the benchmark itself: ``python -m benchmarks.measure NAME``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

NAMES = {
    "overhead": "what the callback costs, as ratios",
    "throughput": "how fast the benchmark's engine is, as ratios",
    "calibration": "false decays and recall of the rules on seeded traces",
    "coverage": "coverage of the intervals, and how often verdicts are false",
}
"""Each is a module with a ``main(arguments)`` of its own: most load what the others have no use for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named measurement with the arguments after its name; list the names if there is none."""
    name, *others = (sys.argv[1:] if arguments is None else list(arguments)) or [""]
    if name in NAMES:
        importlib.import_module(f"benchmarks.measure.{name}").main(others)
        return 0
    asked = name in ("", "-h", "--help")
    out = sys.stdout if asked else sys.stderr
    if not asked:
        print(f"name must be one of {list(NAMES)}, got {name!r}", file=out)
    print("usage: python -m benchmarks.measure NAME [--help]\n", file=out)
    for known, about in NAMES.items():
        print(f"  {known:<12} {about}", file=out)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
