"""What TensorBoard shows without a click: a dashboard of the weight norm, and a row under HParams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.logger import HParam, Logger, TensorBoardOutputFormat

from rl_abel.learning_rate.multiplied_schedule import described
from rl_abel.networks.optimizers import groups_of
from rl_abel.reporting.advice import weight_decay
from rl_abel.rules.bounce import RULES

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rl_abel.callbacks.settings import AbelSettings

PARTS = ("policy", "value", "total", "shared", "log_std")  # each has a chart, as all lines of one run have one colour
# Columns of HParams, each the last value of its scalar. TensorBoard shows five, and of each all runs have to name it.
METRICS = ("eval/mean_reward", "rollout/ep_rew_mean", "train/learning_rate", "abel/decays", "abel/timesteps")


def layout(parts: Iterable[str], diagnose: bool) -> dict[str, dict[str, list[Any]]]:
    """Return the dashboard of these parts: what matters first, then the rest; charts, each with its tags."""
    own = [part for part in PARTS if part in set(parts)]
    # The factor is drawn with the norms, so that its steps show where the rate decays.
    title = "|w|² of the {}, over its start; steps: the rate decays"
    norms = {title.format(part): _line(f"abel/over_start_{part}", "abel/factor") for part in own}
    rewards, rate = _line("rollout/ep_rew_mean", "eval/mean_reward"), _line("train/learning_rate")
    first = dict(list(norms.items())[:2]) | {"episode reward": rewards, "learning rate": rate}
    more = dict(list(norms.items())[2:])
    # TensorBoard smooths lines, but not a chart with a margin, which here has no width.
    more |= {name: ["Margin", [f"abel/{name}"] * 3] for name in ("factor", "decays", "bounces")}
    for part in own if diagnose else []:
        more[f"why: terms of the {part}"] = _line(f"abel/displacement_{part}", f"abel/alignment_{part}")
        more[f"an update of the {part}, over |w|"] = _line(f"abel/relative_update_{part}")
    return {"ABEL": first, "ABEL, the rest": more}


def _line(*tags: str) -> list[Any]:
    return ["Multiline", [f"^{tag}$" for tag in tags]]  # tags are regular expressions there


def hparams(model: BaseAlgorithm, chosen: AbelSettings) -> dict[str, str | float]:
    """Return what a row under HParams tells of a training."""
    env: Any = model.get_env()
    while hasattr(env, "venv"):
        env = env.venv
    # It may run in a process or a simulator of its own, which cannot be asked.
    envs = getattr(env, "envs", None)
    spec = getattr(envs[0] if isinstance(envs, (list, tuple)) and envs else env, "spec", None)
    return {
        "rule": next((name for name, kind in RULES.items() if type(chosen.rule) is kind), type(chosen.rule).__name__),
        "base_rate": _base_rate(model),
        "algorithm": type(model).__name__,
        "environment": getattr(spec, "id", None) or "unknown",
        "watch": chosen.watch,
        "decay_factor": chosen.decay_factor,
        "weight_decay": weight_decay(model),
    }


def _base_rate(model: BaseAlgorithm) -> float | str:
    """Return the user's own rate. A schedule is not asked, as it may count its calls: SB3 did for its optimizers."""
    rate = model.learning_rate
    if not callable(rate):
        return float(rate)
    groups = [] if getattr(model, "_n_updates", 0) else groups_of(model)
    return float(groups[0]["lr"]) if groups else described(rate)


def write_layout(logger: Logger, parts: Iterable[str], diagnose: bool) -> None:
    """Write the dashboard into every TensorBoard log of the logger.

    TensorBoard shows the last layout of a run, so it is written before any other callback may write its own.
    """
    for output in tensorboards(logger):
        output.writer.add_custom_scalars(layout(parts, diagnose))


def write_row(logger: Logger, hparams: Callable[[], Mapping[str, str | float]]) -> None:
    """Write the row that ``hparams`` returns into every TensorBoard log, unless another callback has one.

    TensorBoard shows the first row of a run alone. What others record is in the logger until the first dump.
    """
    if any(isinstance(value, HParam) for value in logger.name_to_value.values()):
        return
    for output in tensorboards(logger):
        # Not through logger.record, which would hand them to outputs that know nothing of them.
        from torch.utils.tensorboard.summary import hparams as summaries

        for summary in summaries(dict(hparams()), dict.fromkeys(METRICS, 0.0)):  # type: ignore[no-untyped-call]
            output.writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
        output.writer.flush()


def tensorboards(logger: Logger) -> list[TensorBoardOutputFormat]:
    """Return the TensorBoard logs that a logger writes, none in most trainings."""
    return [output for output in logger.output_formats if isinstance(output, TensorBoardOutputFormat)]
