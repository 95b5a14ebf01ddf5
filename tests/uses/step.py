"""Make and step every environment of a family, to train and to evaluate on: ``python -m tests.uses.step mujoco``."""

import sys

import numpy as np

from envs import ENVS, make_env, make_evaluation_env

STEPS = 50


def main(family):
    env_ids = [env_id for env_id, spec in ENVS.items() if spec.family == family]
    assert env_ids, family
    for env_id in env_ids:
        for make in (make_env, make_evaluation_env):
            env = make(env_id, 2, seed=0)
            observations = [env.reset().copy()]
            for _ in range(STEPS):
                observation, rewards, *_ = env.step([env.action_space.sample() for _ in range(2)])
                observations.append(observation.copy())
                assert np.isfinite(rewards).all()
            assert np.any(observations[0] != observations[-1]), f"{env_id} does not move"
            env.close()
        print(env_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
