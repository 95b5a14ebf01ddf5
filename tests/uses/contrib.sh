# The algorithms of sb3-contrib: by hand with the installed wheel, and as a preset of the checkout.
python - <<'END'
from rl_abel import AbelCallback
from sb3_contrib import QRDQN, TQC, TRPO

for algorithm, env_id in ((TRPO, "CartPole-v1"), (QRDQN, "CartPole-v1"), (TQC, "Pendulum-v1")):
    arguments = {"n_steps": 32, "batch_size": 32} if algorithm is TRPO else {"learning_starts": 50}
    callback = AbelCallback()
    algorithm("MlpPolicy", env_id, device="cpu", **arguments).learn(600, callback=callback)
    assert callback.trace["total"], algorithm
END
cd "$CHECKOUT"
python - <<'END'
from agents import make_agent
from envs import make_env
from rl_abel import AbelCallback

agent = make_agent("CrossQ", "Pendulum-v1", make_env("Pendulum-v1", 1, 0), learning_rate=1e-3, seed=0)
agent.learn(300, callback=(callback := AbelCallback()))
assert callback.trace["total"]
END
