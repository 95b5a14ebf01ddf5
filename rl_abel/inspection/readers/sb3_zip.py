"""Zips of stable-baselines3, without their weights: what their JSON tells, and which are of one training."""

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path
from typing import Any

DATA, WEIGHTS = "data", "policy.pth"
# What a zip raises that is damaged, encrypted or of a kind that Python cannot read
UNREADABLE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error)
NUMBER = r"\d{1,3}(?:_\d{3})+(?!\d)|\d+"  # A whole number in a name, as 10000 or 10_000


@dataclass(frozen=True)
class Saved:
    """A saved model, as far as it can be told without torch."""

    path: Path
    timestep: int  # at which it was saved
    begin: int  # timestep at which its ``learn()`` began
    session: float  # when its ``learn()`` began; 0 if it does not say
    seed: str  # of the model
    state: dict[str, Any] | None = None  # what the callback has kept in the model, None if nothing
    shared_lstm: bool = False  # whether the LSTM of its policy serves the value network too
    line_search: bool = False  # whether its policy is moved by line search, without the optimizer

    @property
    def series(self) -> Path:
        """Path with ``#`` for the numbers in the name: that of other models of the series, too."""
        return self.path.with_name(re.sub(NUMBER, "#", self.path.name))


def is_model(path: Path) -> bool:
    """Whether a file is a model that SB3 has saved, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"PK" and WEIGHTS in zipfile.ZipFile(file).namelist()
    except UNREADABLE:
        return False


def read_saved(path: Path) -> Saved:
    """Read what a zip says of itself; the name tells the timestep only where the content does not.

    :raises ValueError: if it is not a zip of stable-baselines3
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            text = archive.read(DATA) if DATA in names else b""
    except UNREADABLE as error:
        raise ValueError(f"not a readable zip: {error}") from None
    if WEIGHTS not in names and b'"sbx.' in text:
        raise ValueError("a model of SBX, whose weights are read by SBX alone: inspect the log of its training")
    if WEIGHTS not in names:
        raise ValueError(f"no {WEIGHTS} in it: not a model of stable-baselines3")
    data = None
    with suppress(ValueError, RecursionError):
        data = json.loads(text)
    data = data if isinstance(data, dict) else {}
    clock = ("num_timesteps", "_num_timesteps_at_start", "start_time")
    timestep, begin, session = (_number(data.get(key)) for key in clock)
    if not timestep and (named := number_in(path.name.removesuffix(".zip"))) is not None:
        timestep, begin, session = named, 0.0, 0.0
    state, kwargs = data.get("abel_state"), data.get("policy_kwargs")
    return Saved(
        path,
        int(timestep),
        int(begin),
        session,
        str(data.get("seed")),
        state if isinstance(state, dict) else None,
        isinstance(kwargs, dict) and bool(kwargs.get("shared_lstm")),
        "line_search_shrinking_factor" in data,
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 2**63 else 0.0


def number_in(stem: str) -> int | None:
    """Return the timestep that a name tells: the number before "steps", or the last one.

    >>> [number_in(name) for name in ("rl_model_1000_steps", "a_10_000_steps_v2", "100", "v2-step=5", "best")]
    [1000, 10000, 100, 5, None]
    """
    found = re.findall(rf"({NUMBER})[ _-]?steps", stem) or re.findall(NUMBER, stem)
    return int(found[-1]) if found else None


def runs_of(models: Iterable[Saved]) -> list[list[Saved]]:
    """Return the models of each training, by timestep: told by when their ``learn()`` began, and where."""
    sessions: dict[float | Path, dict[int, Saved]] = {}
    for model in sorted(models, key=lambda model: (model.session, model.timestep, str(model.path))):
        # Without a session, as in a loop of one's own around the networks, names are all there is.
        sessions.setdefault(model.session or model.series, {}).setdefault(model.timestep, model)
    runs: list[list[Saved]] = []
    for session in sessions.values():
        new = list(session.values())
        run = _resumed(new, runs) if new[0].begin else None
        if run is None:
            runs.append(new)
        else:
            # A model saved where a resume began is of both.
            end = min(new[0].begin + 1, new[0].timestep)
            run[:] = [model for model in run if model.timestep < end] + new
    return runs


def _resumed(new: Sequence[Saved], runs: Sequence[list[Saved]]) -> list[Saved] | None:
    """Return the run that models go on with: it has a model saved where they began, or is of their series."""
    begin, series = new[0].begin, {model.series for model in new}
    runs = [run for run in reversed(runs) if run[0].seed == new[0].seed]
    exact = [run for run in runs if any(model.timestep == begin for model in run)]
    alike = [run for run in runs if run[0].timestep <= begin and any(model.series in series for model in run)]
    # Trainings side by side have models of the same timesteps. Their paths tell: letters, not folders, are compared.
    common = [len(commonprefix([str(run[-1].path), str(new[0].path)])) for run in exact or alike]  # noqa: RUF071
    return (exact or alike)[common.index(max(common))] if common else None
