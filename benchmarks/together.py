"""Several runs as one training, until their learning rates or weight decays differ: there the process forks.

``os.fork`` copies everything: networks, optimizers, buffers, environments, random states. So each run
is, to the last bit, what it would have been alone. Every run has callbacks and logs of its own from
the start; all that they share is the training.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat, configure
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from benchmarks.plan import Run
from benchmarks.schedules import Arm, make_arm
from rl_abel.training.state import ATTRIBUTE


@dataclass(eq=False)
class Branch:
    """One run, and what of a training is its own.

    :param folder: where its logs go
    :param left: the run that it was one with at last, and the timesteps that they shared; None if it has not left one
    :param error: traceback of what stopped it while others go on
    """

    run: Run
    folder: Path
    left: dict[str, Any] | None = None
    error: str | None = None
    arm: Arm = field(init=False)
    logger: Logger = field(init=False)
    schedule: Callable[[float], float] = field(init=False)
    memory: Any = None

    @property
    def callbacks(self) -> tuple[BaseCallback, ...]:
        """Those of its arm, in the order in which they are called."""
        return *self.arm.others, self.arm.abel


class Group:
    """The runs that are still one training in this process; it shrinks whenever the rates part."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self.branches = list(branches)
        self.stopped: list[Branch] = []
        self.forked = False
        """Whether this process is a copy, which has to end when its runs do."""
        self.killed: list[str] = []
        """Runs whose process ended in another way than by itself."""
        self.waited = 0.0
        """Seconds in which others were trained."""

    def open(self) -> None:
        """Make the arm and the logs of every run."""
        for branch in list(self.branches):
            run, branch.logger = branch.run, open_logs(branch.folder)
            with self.stopping(branch):
                branch.arm = make_arm(
                    run.arm,
                    run.learning_rate,
                    run.measure_every,
                    run.decay_factor,
                    run.final_decay_at,
                    run.from_updates,
                )

    def start(self, model: BaseAlgorithm) -> Together:
        """Give the model the schedules and the logs of all runs; return the callback that goes with them."""
        for branch in self.branches:
            model.learning_rate = branch.arm.learning_rate
            model._setup_lr_schedule()
            branch.schedule = model.lr_schedule
        model.set_logger(Logs(self))
        together = Together(self)
        model.lr_schedule = together.rate
        return together

    @contextmanager
    def stopping(self, branch: Branch) -> Iterator[None]:
        """Let a run go that fails where others do not; the last one's failure is the training's."""
        try:
            yield
        except Exception:
            if len(self.branches) == 1:
                raise
            branch.error = traceback.format_exc()
            branch.logger.close()
            self.branches.remove(branch)
            self.stopped.append(branch)

    def fork(self, leaving: Sequence[Branch], timesteps: int) -> bool:
        """Copy the process; return True in the copy, which trains those that leave, and False when it has ended.

        :param timesteps: trained so far
        """
        staying = [branch for branch in self.branches if branch not in leaving]
        # What is buffered would be written twice.
        for output in (sys.stdout, sys.stderr, *(b.logger for b in self.branches)):
            flush(output)
        begun = time.monotonic()
        pid = os.fork()
        mine, others = (staying, leaving) if pid else (leaving, staying)
        for branch in others:
            branch.logger.close()
        self.branches = list(mine)
        if pid == 0:
            self.forked, self.stopped, self.killed = True, [], []
            leaving[0].left = {"run_id": staying[0].run.run_id, "timesteps": timesteps}
            return True
        if os.waitpid(pid, 0)[1]:
            self.killed += [branch.run.run_id for branch in leaving]
        self.waited += time.monotonic() - begun
        return False

    def close(self) -> None:
        """Close the logs of the runs that are left."""
        for branch in self.branches:
            if hasattr(branch, "logger"):
                branch.logger.close()


class Together(BaseCallback):
    """Calls the callbacks of every run, each as if it were alone with the model."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def rate(self, progress_remaining: float) -> float:
        """Return the learning rate of the runs that are trained here; those of another leave. The model's schedule."""
        by_rate: dict[float, list[Branch]] = {}
        for branch in self.group.branches:
            by_rate.setdefault(float(branch.schedule(progress_remaining)), []).append(branch)
        ours, *others = by_rate
        for other in others:
            if self.group.fork(by_rate[other], self.model.num_timesteps):
                return other
        return ours

    def _init_callback(self) -> None:
        self._each(lambda callback: callback.init_callback(self.model))

    def _on_training_start(self) -> None:
        self._each(lambda callback: callback.on_training_start(self.locals, self.globals))

    def _on_rollout_start(self) -> None:
        self._each(lambda callback: callback.on_rollout_start())

    def _on_step(self) -> bool:
        self._each(lambda callback: callback.on_step())
        return True

    def _on_rollout_end(self) -> None:
        for branch in list(self.group.branches):
            # One that moves more than its rate is alone from here on; those that move that alone part in `rate`.
            alone = len(self.group.branches) == 1
            if branch.arm.parts and not alone and self.group.fork([branch], self.model.num_timesteps):
                break
        self._each(lambda callback: callback.on_rollout_end())

    def _on_training_end(self) -> None:
        self._each(lambda callback: callback.on_training_end())

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """Hand on what SB3 tells of a rollout."""
        self._each(lambda callback: callback.update_locals(locals_))

    def _each(self, call: Callable[[BaseCallback], object]) -> None:
        for branch in list(self.group.branches):
            with self.group.stopping(branch), self._turn(branch):
                for callback in branch.callbacks:
                    call(callback)

    @contextmanager
    def _turn(self, branch: Branch) -> Iterator[None]:
        """Let the model have the schedule, the logger and the memory of one run for a while."""
        model, shared = self.model, (self.model.lr_schedule, self.model._logger)
        model.lr_schedule, model._logger = branch.schedule, branch.logger
        if branch.memory is not None:
            setattr(model, ATTRIBUTE, branch.memory)
        try:
            yield
        finally:
            branch.schedule, branch.memory = model.lr_schedule, vars(model).pop(ATTRIBUTE, None)
            model.lr_schedule, model._logger = shared


class Logs(Logger):
    """SB3's logger of a model, which hands all to the loggers of the runs."""

    def __init__(self, group: Group) -> None:
        self._group = group
        super().__init__(None, self.output_formats)

    @property
    def output_formats(self) -> list[KVWriter]:
        """Those of the runs that are trained here now."""
        return [output for branch in self._group.branches for output in branch.logger.output_formats]

    @output_formats.setter
    def output_formats(self, _: list[KVWriter]) -> None:
        """SB3 sets them once; they are where they were."""

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Record it for each."""
        for branch in self._group.branches:
            branch.logger.record(key, value, exclude)

    def record_mean(self, key: str, value: float | None, exclude: str | tuple[str, ...] | None = None) -> None:
        """Record it for each."""
        for branch in self._group.branches:
            branch.logger.record_mean(key, value, exclude)

    def dump(self, step: int = 0) -> None:
        """Write what each has recorded."""
        for branch in self._group.branches:
            branch.logger.dump(step)


def open_logs(folder: Path) -> Logger:
    """Return a logger of SB3's into progress.csv and TensorBoard's events, which starts no thread.

    A thread is not copied by a fork, and what it holds stays locked.
    """
    logger = configure(str(folder), ["csv", "tensorboard"])
    [path] = folder.glob("events.*")
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.file_writer.event_writer.close()
            output.writer.file_writer.event_writer = Events(path)
    return logger


def flush(output: Any) -> None:
    """Write what is buffered, of a stream or of all that a logger writes to."""
    for part in output.output_formats if isinstance(output, Logger) else [output]:
        (part.writer if isinstance(part, TensorBoardOutputFormat) else getattr(part, "file", part)).flush()


class Events:
    """Appends to a file of TensorBoard's events at once, where TensorBoard's own writer has a thread do it."""

    def __init__(self, path: Path) -> None:
        self._folder, self._file = path.parent, path.open("ab")
        self._records = RecordWriter(self._file)

    def get_logdir(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def add_event(self, event: Event) -> None:
        """Append an event."""
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Write what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
