"""What the pages call tasks, settings, rates and small numbers."""

from __future__ import annotations


def short(task: str) -> str:
    """Return a task's name for the pages, its strength of weight decay as in the plan.

    >>> short("PPO CartPole-v1, adamw 3"), short("PPO CartPole-v1, adamw 0.0782"), short("SAC-SimBa Pendulum-v1")
    ('PPO CartPole, ηλN 3', 'PPO CartPole, ηλN 0.078', 'SAC-SimBa Pendulum')
    """
    env, regularized, strength = task.partition(", adamw ")
    return env.rpartition("-v")[0] + (f", ηλN {float(strength):.2g}" if regularized else "")


def env(task: str) -> str:
    """Return the environment of a task without weight decay.

    >>> env("PPO CartPole-v1")
    'CartPole'
    """
    return short(task).partition(" ")[2]


def spoken(setting: str) -> str:
    """Return a setting in words, for who does not know our names yet.

    >>> spoken("SAC-SimBa Pendulum-v1, adamw 10")
    'SAC with layer normalisation and strong weight decay'
    """
    agent, normalised, _ = setting.partition(" ")[0].partition("-SimBa")
    details = ["layer normalisation"] * bool(normalised) + ["strong weight decay"] * (", adamw" in setting)
    return f"{agent} with {' and '.join(details)}" if details else short(setting)


def counted_in_words(number: int) -> str:
    """Return a small number in words.

    >>> counted_in_words(7), counted_in_words(0), counted_in_words(16)
    ('seven', 'no', '16')
    """
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[number] if number < len(words) else str(number)


def rate(value: float) -> str:
    """Return a learning rate.

    >>> rate(3e-4), rate(0.00089999), rate(0.01)
    ('3e-4', '9e-4', '1e-2')
    """
    return f"{value:.0e}".replace("e-0", "e-")


def share_of(bar: float) -> str:
    """Return a share.

    >>> share_of(0.95)
    '95 %'
    """
    return f"{bar:.0%}".replace("%", " %")


def same(listed: str) -> str:
    """Return the one word that a list repeats, or the list.

    >>> same("3e-4, 3e-4"), same("1e-3, 3e-4")
    ('3e-4', '1e-3, 3e-4')
    """
    return listed.partition(",")[0] if len(set(listed.split(", "))) == 1 else listed


FILTERS = (short, spoken, env, rate, same, share_of, counted_in_words)
"""Of the templates."""
