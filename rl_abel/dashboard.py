"""What TensorBoard shows without a click: a dashboard of the weight norm, and a row under HParams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stable_baselines3.common.logger import HParam, Logger, TensorBoardOutputFormat

from rl_abel.rule import RULES, Rule
from rl_abel.schedule import unscaled

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

# Tags are regular expressions, unanchored unless said.
LAYOUT = {
    "ABEL": {
        "weight norm |w|²": ["Multiline", ["^abel/weight_norm_"]],
        "factor": ["Multiline", ["^abel/factor$"]],
        "learning rate": ["Multiline", ["^train/learning_rate$"]],
        "episode reward": ["Multiline", ["^rollout/ep_rew_mean$", "^eval/mean_reward$"]],
        "decays and bounces": ["Multiline", ["^abel/decays$", "^abel/bounces$"]],
    }
}

METRICS = ("rollout/ep_rew_mean", "eval/mean_reward", "abel/bounces")
"""Columns of HParams, each the last value of its scalar; empty where a run has no such scalar.

``eval/mean_reward`` is what SB3's EvalCallback logs. Every run names all of them, or TensorBoard
leaves a column out.
"""


def hparams(model: BaseAlgorithm, rule: Rule) -> dict[str, str | float]:
    """Return what a row under HParams tells of a training, whatever else the callback adds."""
    env = getattr(model.get_env(), "envs", [None])[0]
    return {
        "rule": next((name for name, kind in RULES.items() if type(rule) is kind), type(rule).__name__),
        "base_rate": float(unscaled(model.lr_schedule)(1.0)),
        "algorithm": type(model).__name__,
        "environment": getattr(getattr(env, "spec", None), "id", None) or "unknown",
    }


def write_layout(logger: Logger) -> None:
    """Write the dashboard into every TensorBoard log of the logger.

    TensorBoard shows the last layout of a run, so before any other callback may write its own.
    """
    for output in _tensorboards(logger):
        output.writer.add_custom_scalars(LAYOUT)


def write_row(logger: Logger, hparams: Mapping[str, str | float]) -> None:
    """Write the row under HParams into every TensorBoard log of the logger, unless another callback has one.

    TensorBoard shows the first row of a run alone. What others record is in the logger until the first dump.
    """
    if any(isinstance(value, HParam) for value in logger.name_to_value.values()):
        return
    for output in _tensorboards(logger):
        # Not through logger.record, which would hand them to outputs that know nothing of them.
        from torch.utils.tensorboard.summary import hparams as summaries

        for summary in summaries(dict(hparams), dict.fromkeys(METRICS, 0.0)):  # type: ignore[no-untyped-call]
            output.writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
        output.writer.flush()


def _tensorboards(logger: Logger) -> list[TensorBoardOutputFormat]:
    return [output for output in logger.output_formats if isinstance(output, TensorBoardOutputFormat)]
