"""RateByPart: a learning rate for each network, as multiples of the one that there is."""

from rl_abel._validation import check_number, known_arguments
from rl_abel.callbacks.base import LearningRateCallback

PARTS = ("policy", "value", "shared", "log_std")
FEW_TIMESTEPS = 1000  # between two looks at which optimizers there are


class RateByPart(LearningRateCallback):
    """Train the networks of a model at rates of their own, in every algorithm.

    ``RateByPart(value=3)`` trains the value network at three times the rate of the others (stable-baselines3 #338).
    Multiplies whatever schedule the model has, decays of :class:`AbelCallback` included. ``train/learning_rate`` is
    the rate before it, and ``abel/learning_rate_<part>`` the one of a part.

    >>> from stable_baselines3 import DQN
    >>> _ = DQN("MlpPolicy", "CartPole-v1").learn(200, callback=RateByPart(value=3))

    :param policy: multiplier for the policy network
    :param value: multiplier for the value network; a Q-network, or a critic, is one
    :param shared: multiplier for what is in both networks
    :param log_std: multiplier for the standard deviation of the policy, where it is a parameter of its own
    :param verbose: 1 prints the rates at the start
    :raises TypeError: for a part that is not known
    :raises ValueError: for a multiplier below 0, or, when a training begins, a part that the model does not have
    """

    NAME = "part"

    @known_arguments
    def __init__(
        self, *, policy: float = 1.0, value: float = 1.0, shared: float = 1.0, log_std: float = 1.0, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        multipliers = dict(zip(PARTS, (policy, value, shared, log_std)))
        self.multipliers = {part: check_number(part, factor, at_least=0) for part, factor in multipliers.items()}

    @property
    def _may_move(self) -> bool:
        return any(factor != 1 for factor in self.multipliers.values())

    def _begin(self) -> None:
        if lacks := self._look():
            raise ValueError(f"{lacks} trains no such part at a rate of its own; it has {self._parts}")
        for part in self._parts if self.verbose else ():
            self._say(f"the learning rate of the {part} is multiplied by {self.multipliers[part]:g}")
        if "TRPO" in (kind.__name__ for kind in type(self.model).__mro__) and self.multipliers["policy"] != 1:
            self._warn("TRPO", "TRPO moves its policy by line search, which no multiplier reaches")

    def _before_update(self) -> None:
        if self.model.num_timesteps >= self._next_look and (lacks := self._look()):
            self._warn("lacks", f"{lacks} trains no such part now. Its multiplier holds again when it does")

    def _at_step(self) -> None:
        # Off-policy a dump, which empties the logger, comes at any step.
        if f"abel/learning_rate_{self._parts[0]}" not in self.logger.name_to_value:
            self._after_update()

    def _look(self) -> str:
        """Find which parts the optimizers hold now; return in words whose multiplier is for none, empty if all are."""
        self._next_look = self.model.num_timesteps + FEW_TIMESTEPS
        parts = self._rate.split()
        # Without an optimizer (ARS) an algorithm asks for the one rate of the one network that it has.
        self._parts = sorted(parts or {"policy"}, key=PARTS.index)
        if parts:
            self._factor.by_part = self.multipliers
        elif not self._factor.by_part:
            self._factor.value = self.multipliers["policy"]
        absent = [part for part, factor in self.multipliers.items() if factor != 1 and part not in self._parts]
        return f"{absent[0]}={self.multipliers[absent[0]]:g}: {type(self.model).__name__}" if absent else ""

    def _after_update(self) -> None:
        # Rates of the latest update, as train/learning_rate is.
        for part in self._parts:
            if (rate := self._rate.of_part(part)) is not None:
                self.logger.record(f"abel/learning_rate_{part}", rate)
