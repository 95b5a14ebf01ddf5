"""The folder of a run: what is missing, and how a finished one gets its name. No torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

RUN_JSON = "run.json"


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what a run.json holds, None where there is none that can be read."""
    try:
        record = json.loads((folder / RUN_JSON).read_text())
        return record if record["status"] in ("complete", "failed") else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def status_of(folder: Path) -> str:
    """Return "complete", "failed" or "missing"; what cannot be read is missing."""
    record = read_record(folder)
    return record["status"] if record else "missing"


def publish(record: dict[str, Any], aside: Path, folder: Path) -> None:
    """Give a finished folder its name, and then its run.json; the first to finish a run wins."""
    (aside / f".{RUN_JSON}").write_text(json.dumps(record, indent=1))
    if folder.is_dir():
        if status_of(folder) == "complete":
            shutil.rmtree(aside)
            return
        shutil.rmtree(folder)
    aside.rename(folder)
    (folder / f".{RUN_JSON}").rename(folder / RUN_JSON)
