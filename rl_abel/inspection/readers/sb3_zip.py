"""Zips of stable-baselines3, without their weights: what their JSON tells, and which are of one training."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from rl_abel.inspection.readers.resumed_runs import Block, join

DATA, WEIGHTS = "data", "policy.pth"
STATE = "abel_state"
UNREADABLE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error)
"""What a zip raises that is damaged, encrypted or of a kind that Python cannot read."""

SECONDS = 1e12
"""Times below it are in seconds, as SB3 once wrote them; above, in nanoseconds."""

NUMBER = re.compile(r"\d{1,3}(?:_\d{3})+(?!\d)|\d+(?:\.\d+)?(?:[eE]\+?\d+)?")
SCALES = {"": 1, "k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6}
INDEX = "index"
"""Stands for the norms in rows that are not computed yet."""

NEAR = 0.05
"""Share by which the number in a name may differ from the timestep that it stands for: a rollout or so."""

OF_A_STEP = re.compile(r"(.*(step|steps|checkpoint|ckpt|iter|iteration)[ _=-]*)?#([ _-]*(time)?steps?)?", re.I)
"""Name of a folder that stands for one timestep, its number as ``#``."""

FEWEST = 10
"""A folder that is called by a smaller number alone may be a seed's."""


@dataclass(frozen=True)
class Saved:
    """A saved model, as far as it can be told without torch.

    :param timestep: at which it was saved
    :param begin: timestep at which its ``learn()`` began, None if it does not say
    :param session: when its ``learn()`` began, in nanoseconds since 1970; 0 if it does not say
    :param seed: of the model
    :param state: what the callback has kept in the model, None if nothing
    :param shared_lstm: whether the LSTM of its policy serves the value network too
    :param line_search: whether its policy is moved by line search, without the optimizer
    """

    path: Path
    timestep: int
    begin: int | None
    session: int
    seed: str
    state: dict[str, Any] | None = None
    shared_lstm: bool = False
    line_search: bool = False

    @property
    def home(self) -> Path:
        """Folder of its training: above one that is called after the timestep, as in ``10000/model.zip``."""
        return self.path.parents[self.name.count("/")]

    @property
    def name(self) -> str:
        """From there on, without ``.zip``."""
        stem, folder = self.path.name.removesuffix(".zip"), self.path.parent.name
        alone = template(folder) == "#" and (number_in(folder) or 0) < FEWEST
        return f"{folder}/{stem}" if OF_A_STEP.fullmatch(template(folder)) and not alone else stem


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
            if WEIGHTS not in names and DATA in names and b'"sbx.' in archive.read(DATA):
                raise ValueError("a model of SBX, whose weights are read by SBX alone: inspect the log of its training")
            if WEIGHTS not in names:
                raise ValueError(f"no {WEIGHTS} in it: not a model of stable-baselines3")
            data = _data(archive)
    except UNREADABLE as error:
        raise ValueError(f"not a readable zip: {error}") from None
    timestep = _integer(data.get("num_timesteps"))
    session = _number(data.get("start_time")) or 0.0
    begin = None if session == 0 else _integer(data.get("_num_timesteps_at_start"))
    nanoseconds = int(session if session > SECONDS else session * 1e9)
    state, kwargs = data.get(STATE), data.get("policy_kwargs")
    saved = Saved(
        path,
        timestep or 0,
        begin,
        nanoseconds,
        str(data.get("seed")),
        state if isinstance(state, dict) else None,
        isinstance(kwargs, dict) and bool(kwargs.get("shared_lstm")),
        "line_search_shrinking_factor" in data,
    )
    named = number_in(saved.name)
    return saved if timestep or named is None else replace(saved, timestep=named, begin=None, session=0)


def _data(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        data = json.loads(archive.read(DATA))
    except (KeyError, ValueError, *UNREADABLE):
        return {}
    return data if isinstance(data, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 2**63 else None


def _integer(value: Any) -> int | None:
    return None if (number := _number(value)) is None else int(number)


def runs_of(models: Iterable[Saved]) -> list[list[Saved]]:
    """Return the models of each training, by timestep: told by when their ``learn()`` began, and where."""
    ordered = sorted(models, key=lambda model: (model.session, model.timestep, str(model.path)))
    ordered = _clock_of_names(ordered)
    sessions: dict[Any, dict[int, int]] = {}
    for index, model in enumerate(ordered):
        # Without a session, as in a loop of one's own around the networks, names are all there is.
        key = model.session or (model.home, template(model.name))
        sessions.setdefault(key, {}).setdefault(model.timestep, index)
    of_seed: dict[str, list[Block]] = {}
    for indices in sessions.values():
        members = [ordered[index] for index in indices.values()]
        block = Block(
            [(timestep, {INDEX: float(indices[timestep])}) for timestep in sorted(indices)],
            members[0].begin,
            str(members[0].home),
            frozenset(template(model.name) for model in members),
            frozenset(f"{model.home}/{template(model.name, model.timestep)}" for model in members),
        )
        of_seed.setdefault(members[0].seed, []).append(block)
    runs = [run for blocks in of_seed.values() for run in join(blocks)]
    return [[ordered[int(values[INDEX])] for _, values in run.rows] for run in runs]


def _clock_of_names(models: Sequence[Saved]) -> list[Saved]:
    """Let those count on that were saved after a ``learn()`` each, which has reset the clock: as their names do.

    :param models: in the order in which they were trained
    """
    series: dict[Any, list[int]] = {}
    for index, model in enumerate(models):
        series.setdefault((model.seed, model.home, template(model.name)), []).append(index)
    counted = list(models)
    for indices in series.values():
        ends = list(accumulate(models[index].timestep for index in indices))
        named = [number_in(models[index].name) or 0 for index in indices]
        again = all(models[index].begin == 0 for index in indices) and len(indices) > 1
        if again and all(abs(name - end) <= NEAR * end for name, end in zip(named, ends)):
            for index, begin, end in zip(indices, [0, *ends], ends):
                counted[index] = replace(models[index], timestep=end, begin=begin)
    return counted


def template(stem: str, timestep: int | None = None) -> str:
    """Return a name with ``#`` for its numbers, or for the one that is the timestep if that is given.

    >>> template("run1_2000_steps"), template("run1_2000_steps", 2000), template("best")
    ('run#_#_steps', 'run1_#_steps', 'best')
    """
    found = list(_numbers(stem))
    if timestep is not None and found:
        near = [(begin, end) for value, begin, end in found if abs(value - timestep) <= NEAR * timestep]
        # A number that counts saves instead of timesteps comes last, as a rule.
        spans = near or [found[-1][1:]]
    else:
        spans = [(begin, end) for _, begin, end in found]
    for begin, end in reversed(spans):
        stem = f"{stem[:begin]}#{stem[end:]}"
    return stem


def number_in(stem: str) -> int | None:
    """Return the timestep that a name tells: the number before or after "steps", or the last one.

    >>> [number_in(name) for name in ("rl_model_1e4_steps", "a_10_000_steps", "100k", "v2-step=5", "best")]
    [10000, 10000, 100000, 5, None]
    """
    found = list(_numbers(stem))
    beside = [v for v, begin, end in found if re.match(r"[ _-]?(time)?steps?(?![ _=-]*\d)", stem[end:], re.I)] or [
        v for v, begin, end in found if re.search(r"steps?[ _=-]?$", stem[:begin], re.I)
    ]
    last = beside or [value for value, *_ in found]
    return int(last[-1]) if last and last[-1] < 2**63 else None


def _numbers(stem: str) -> Iterable[tuple[float, int, int]]:
    """Yield each number in a name, with its place."""
    for match in NUMBER.finditer(stem):
        end = match.end()
        suffix = stem[end : end + 1]
        scaled = suffix in SCALES and suffix and not stem[end + 1 : end + 2].isalpha()
        value = float(match[0].replace("_", "")) * (SCALES[suffix] if scaled else 1)
        yield value, match.start(), end + 1 if scaled else end
