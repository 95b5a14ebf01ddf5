"""The folder of a run: what is missing, and how a finished one gets its name. No torch."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

RUN_JSON = "run.json"


ASIDE = re.compile(r"\.(.+_[0-9a-f]{8})\.[0-9a-f]{8}")
"""Name of the folder of a run that is not finished: a dot, its id, and letters of its own."""


def aside(run_id: str, out: Path) -> Path:
    """Make a folder for a run that is not finished."""
    folder = out / f".{run_id}.{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    return folder


def unfinished(out: Path) -> dict[Path, str]:
    """Return the folders of runs that are not finished, and of which run each is; no other folder is among them."""
    found = {path: ASIDE.fullmatch(path.name) for path in out.glob(".*") if path.is_dir()}
    return {path: match[1] for path, match in found.items() if match}


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
