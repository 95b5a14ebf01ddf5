# The algorithms of SBX, with the installed wheel: one whose rate follows a schedule, and one whose rate was fixed.
python - <<'END'
import optax
from rl_abel import AbelCallback, RateByPart, weight_norms
from sbx import DQN, PPO

small = {"net_arch": [8]}
movable = {"optimizer_class": optax.inject_hyperparams(optax.adam)}
for algorithm, policy, arguments in (
    (PPO, small, {"n_steps": 32, "batch_size": 32}),
    (DQN, small | movable, {"learning_starts": 50}),
):
    model = algorithm("MlpPolicy", "CartPole-v1", policy_kwargs=policy, **arguments)
    callback = AbelCallback()
    model.learn(600, callback=[callback, RateByPart(value=2)])
    assert len(callback.trace["total"]) > 10 and weight_norms(model)["total"] > 0, algorithm
    assert [decay.cause for decay in callback.decays][-1] == "final", algorithm
try:
    DQN("MlpPolicy", "CartPole-v1").learn(100, callback=AbelCallback())
except ValueError as error:
    assert "optax.inject_hyperparams" in str(error)
else:
    raise AssertionError("a rate that was fixed has been accepted")
END
