# The package alone: train with the callback, read the log. The folder is empty: this is the installed wheel.
python - <<'END'
from pathlib import Path

import rl_abel
from rl_abel import AbelCallback, weight_norms
from stable_baselines3 import PPO

assert "site-packages" in rl_abel.__file__, rl_abel.__file__
model = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, tensorboard_log="runs", device="cpu")
callback = AbelCallback()
model.learn(500, callback=callback)
assert len(callback.trace["total"]) > 20, callback.trace
assert [decay.cause for decay in callback.decays][-1] == "final", callback.decays
assert weight_norms(model)["total"] > 0
END
rl-abel inspect runs | tee inspected
grep -q "runs/PPO_1" inspected
