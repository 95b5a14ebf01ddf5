"""Train PPO with the callback for about a minute and show what it did: ``python -m benchmarks.demo``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from rl_abel import AbelCallback, find_decays
from rl_abel.rule import observe_each

ENV_ID = "CartPole-v1"
TIMESTEPS = 200_000


def train(folder: Path, timesteps: int, seed: int) -> tuple[PPO, AbelCallback]:
    """Train PPO with weight decay, without which the norm is not expected to bounce."""
    model = PPO(
        "MlpPolicy",
        make_vec_env(ENV_ID, n_envs=8, seed=seed),
        learning_rate=1e-3,
        n_steps=64,
        batch_size=128,
        gamma=0.98,
        policy_kwargs={
            "optimizer_class": torch.optim.AdamW,
            # SB3 gives PPO's Adam this eps, unless optimizer_kwargs are given.
            "optimizer_kwargs": {"eps": 1e-5, "weight_decay": 1.0},
        },
        tensorboard_log=str(folder),
        seed=seed,
        device="cpu",
    )
    callback = AbelCallback(verbose=1)
    model.learn(timesteps, callback=callback, progress_bar=True)
    return model, callback


PARTS = ("total", "policy", "value")


def phases(callback: AbelCallback) -> list[dict[str, str]]:
    """Return what the rule was waiting for after each measurement, by part."""
    states: dict[str, Any] = {}
    waiting = []
    for norms in zip(*(callback.trace[part] for part in PARTS)):
        states, _ = observe_each(callback.rule, states, dict(zip(PARTS, norms)))
        waiting.append({part: state["phase"] for part, state in states.items()})
    return waiting


def picture(path: Path, callback: AbelCallback, base_rate: float) -> None:
    """Save weight norm by part above, learning rate below, with the decays marked in both."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    trace: dict[str, list[Any]] = callback.trace
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=[2, 1], layout="constrained")
    for part in PARTS:
        above.plot(trace["timesteps"], trace[part], label=part, linewidth=2 if part == "total" else 1)
    bounced = any(decay.cause == "bounce" for decay in callback.decays)
    what = "the rate decays when the norm has bounced" if bounced else "no bounce, so one decay near the end"
    above.set(ylabel="squared weight norm |w|²", title=f"PPO on {ENV_ID}: {what}")
    steps, rates = [0], [base_rate]
    for decay in callback.decays:
        steps += [decay.timestep, decay.timestep]
        rates += [rates[-1], rates[-1] * decay.factor]
        for axis in (above, below):
            axis.axvline(decay.timestep, color="tab:red" if decay.cause == "bounce" else "0.5", linestyle="--")
        label = "the norm bounced:\nrate x" if decay.cause == "bounce" else "85 % of the budget:\nrate x"
        near_the_end = decay.timestep > 0.6 * trace["timesteps"][-1]
        above.annotate(
            f"{label} {decay.factor:g}",
            (decay.timestep, 0.15),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if near_the_end else 5, 0),
            textcoords="offset points",
            ha="right" if near_the_end else "left",
        )
    below.plot([*steps, trace["timesteps"][-1]], [*rates, rates[-1]], color="tab:green")
    below.set(yscale="log", ylabel="learning rate", xlabel="timesteps")
    above.legend(loc="upper left")
    figure.savefig(path, dpi=120)


def report(console: Console, callback: AbelCallback) -> None:
    """Print how the norm moved, in the rule's own words, and each decay with its reason."""
    trace = callback.trace
    table = Table(title="What the squared weight norm did")
    for heading in ("part", "first", "lowest", "highest", "last"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part in [part for part in trace if part != "timesteps"]:
        norms = trace[part]
        table.add_row(part, *(f"{norm:,.1f}" for norm in (norms[0], min(norms), max(norms), norms[-1])))
    console.print(table)
    waiting = phases(callback)
    names = {"minimum": "a significant fall", "equilibrium": "a significant rise: the minimum is passed"}
    for before, now, timestep in zip(waiting, waiting[1:], trace["timesteps"][1:]):
        for part in (part for part in PARTS if before[part] != now[part]):
            console.print(f"{timestep:>9,}  {part}: {names.get(now[part], 'waiting for a fall again')}")
    for decay in callback.decays:
        reason = "the norm bounced" if decay.cause == "bounce" else f"{callback.final_decay_at:.0%} of the budget"
        console.print(f"{decay.timestep:>9,}  [bold]learning rate x {decay.factor:g}[/bold] because of {reason}")
    if not callback.n_bounces:
        console.print("The norm has not bounced: this was a constant rate with one decay near the end.")
    literal = len(find_decays(trace["total"], rule="paper"))
    console.print(f"On the total of the same measurements Algorithm 1 to the letter decays {literal} times.")


def main() -> None:
    """Train, report, and say where the logs and the picture are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timesteps", type=int, default=TIMESTEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the logs and the picture")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    console.print(f"PPO on {ENV_ID}, {arguments.timesteps:,} timesteps, AdamW with weight decay, AbelCallback()")
    model, callback = train(arguments.out, arguments.timesteps, arguments.seed)
    report(console, callback)
    path = arguments.out / "demo.png"
    picture(path, callback, float(model.learning_rate))  # type: ignore[arg-type]
    console.print(f"\nPicture:      {path}")
    console.print(f"TensorBoard:  .venv/bin/tensorboard --logdir {arguments.out}   (tags under abel/)")


if __name__ == "__main__":
    main()
