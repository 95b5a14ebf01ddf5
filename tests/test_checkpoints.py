"""Weight norms from zips: exactly those of the model, whatever else is in its networks."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from agents.optimizers import MatrixAdamW
from rl_abel import weight_norms
from rl_abel.inspection.readers.checkpoints import checkpoint_norms, owned, series_norms
from rl_abel.inspection.readers.find_runs import read_paths
from rl_abel.inspection.readers.sb3_zip import read_saved
from tests.algorithms import ALGORITHMS, STEPS, make_model

DQN_LIKE = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500}


class Features(BaseFeaturesExtractor):
    """Layers, a buffer of no usual name and batch normalisation; a backbone that may be frozen."""

    def __init__(self, space, frozen=False):
        super().__init__(space, features_dim=8)
        self.backbone = torch.nn.Linear(space.shape[0], 8)
        self.backbone.requires_grad_(not frozen)
        self.register_buffer("positions", torch.full((50, 32), 3.0))
        self.norm = torch.nn.BatchNorm1d(8)
        self.head = torch.nn.Linear(8, 8)

    def forward(self, observations):
        return self.head(self.norm(self.backbone(observations))) + self.positions.mean() * 0


@pytest.mark.parametrize("steps", [0, STEPS])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_norms_are_those_of_the_model(name, steps, tmp_path):
    model = make_model(name)
    if steps and name != "ARS":
        model.learn(steps)
    model.save(tmp_path / "model.zip")
    assert checkpoint_norms(tmp_path / "model.zip") == pytest.approx(weight_norms(model), rel=1e-12)


@pytest.mark.parametrize("name", ["PPO", "DQN", "SAC", "TD3", "ARS"])
def test_names_that_torch_compile_gives_are_the_names_without_it(name, tmp_path):
    """As SB3 saved a compiled policy before 2.7."""
    model = make_model(name)
    if name != "ARS":
        model.learn(STEPS)
    model.save(tmp_path / "model.zip")
    weights = {f"_orig_mod.{key}": tensor for key, tensor in model.policy.state_dict().items()}
    with zipfile.ZipFile(tmp_path / "model.zip") as archive, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        for member in archive.namelist():
            with old.open(member, "w") as file:
                torch.save(weights, file) if member == "policy.pth" else file.write(archive.read(member))
    expected = weight_norms(model)
    assert checkpoint_norms(tmp_path / "old.zip") == pytest.approx(expected, rel=1e-12)
    model.policy = torch.compile(model.policy, backend="eager")
    assert weight_norms(model) == expected


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "ARS"])
def test_a_policy_and_a_path_have_norms_too(name, tmp_path):
    model = make_model(name)
    model.learn(60)
    expected = weight_norms(model)
    assert weight_norms(model.policy) == expected
    model.save(tmp_path / "model")
    for path in (str(tmp_path / "model"), tmp_path / "model.zip"):
        assert weight_norms(path) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("given", [torch.nn.Linear(2, 2), {"weight": torch.ones(2)}, 3, None])
def test_what_else_is_given_is_named(given):
    with pytest.raises(TypeError, match=f"or the path of a saved model, got {type(given).__name__}"):
        weight_norms(given)


def test_a_path_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"not a readable zip: .*No such file.*missing\.zip"):
        weight_norms(tmp_path / "missing")


# Where models are


IN_FOLDERS = ["{}/model.zip", "step={}/policy.zip", "checkpoint-{}/model", "{}_steps/best.zip"]
IN_NAMES = ["rl_model_{}_steps", "{}", "agent.{}"]


@pytest.mark.parametrize(
    ("layout", "left_out"),
    [(layout, []) for layout in IN_FOLDERS + IN_NAMES]
    + [(layout, ["num_timesteps", "start_time"]) for layout in IN_NAMES],
)
def test_a_training_is_found_whatever_its_models_are_called(layout, left_out, tmp_path):
    """Two trainings side by side, each in a loop of learn() and save()."""
    expected = {}
    for run in ("ppo/CartPole-v1_1", "ppo/CartPole-v1_2"):
        model = make_model("PPO", seed=None)
        norms = expected[str(tmp_path / run)] = []
        for i in range(1, 5):
            model.learn(20, reset_num_timesteps=False)
            (tmp_path / run / layout.format(20 * i)).parent.mkdir(parents=True, exist_ok=True)
            model.save(tmp_path / run / layout.format(20 * i), exclude=left_out)
            norms.append((20 * i, pytest.approx(weight_norms(model)["total"], rel=1e-12)))
        np.savez(tmp_path / run / "evaluations.npz", timesteps=[20])
        torch.save(model.policy.state_dict(), tmp_path / run / "policy.pth")
    found = read_paths([tmp_path])
    assert {run.path: [*zip(run.timesteps, run.norms["total"])] for run in found} == expected


def test_folders_called_after_seeds_are_trainings_of_their_own(tmp_path):
    for seed in (1, 2, 3):
        (tmp_path / str(seed)).mkdir()
        model = make_model("PPO", seed=seed)
        model.learn(60)
        model.save(tmp_path / str(seed) / "model")
    assert [(run.path, run.timesteps) for run in read_paths([tmp_path])] == [
        (str(tmp_path / f"{seed}" / "model.zip"), [60]) for seed in (1, 2, 3)
    ]


@pytest.mark.parametrize("shared_lstm", [False, True])
def test_a_recurrent_policy_may_share_its_lstm(shared_lstm, tmp_path):
    kwargs = {"net_arch": [8], "lstm_hidden_size": 4, "shared_lstm": shared_lstm, "enable_critic_lstm": not shared_lstm}
    model = make_model("RecurrentPPO", policy_kwargs=kwargs)
    model.learn(40)
    model.save(tmp_path / "model.zip")
    assert checkpoint_norms(tmp_path / "model.zip") == pytest.approx(weight_norms(model), rel=1e-12)


def build(algorithm, optimizer, **policy):
    kwargs = {"PPO": {"n_steps": 20, "batch_size": 20}}.get(algorithm.__name__, DQN_LIKE)
    policy = {"net_arch": [8], "features_extractor_class": Features, "optimizer_class": optimizer, **policy}
    return algorithm("MlpPolicy", "Pendulum-v1", policy_kwargs=policy, seed=0, device="cpu", **kwargs)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", [PPO, SAC, TD3])
def test_buffers_do_not_count(algorithm, share, tmp_path):
    """The optimizers have as many states as there are tensors of usual names."""
    model = build(algorithm, MatrixAdamW, share_features_extractor=share)
    model.learn(80)
    model.save(tmp_path / "model.zip")
    assert checkpoint_norms(tmp_path / "model.zip") == pytest.approx(weight_norms(model), rel=1e-9)


@pytest.mark.parametrize(
    ("extra", "num_trained", "names", "doubt"),
    [
        ({}, 1, ["l.weight"], None),
        ({}, None, ["l.weight"], None),
        ({"norm.running_mean": (5,), "critic_target.l.weight": (2, 2)}, 1, ["l.weight"], None),
        ({"table": (3,)}, 1, ["l.weight"], None),
        ({"scale": (3,)}, 2, ["l.weight", "scale"], None),
        (
            {"table": (3,)},
            None,
            ["l.weight", "table"],
            "nothing tells whether table is a weight or a buffer: it counts",
        ),
        ({"frozen.weight": (3,)}, 1, ["frozen.weight", "l.weight"], "1 of 2 tensors are frozen, or buffers."),
        ({"a.weight": (3,), "table": (3,), "scale": (3,)}, 3, ["a.weight", "l.weight", "scale", "table"], "1 of 4"),
    ],
)
def test_weights_are_told_by_their_names(extra, num_trained, names, doubt):
    weights = {name: torch.ones(shape) for name, shape in {"l.weight": (2, 2), **extra}.items()}
    found = owned(weights, num_trained)
    assert sorted(found.names) == names
    assert [text.startswith(doubt or "-") for text in found.doubts] == [True] * (doubt is not None)


def test_a_frozen_network_is_said(tmp_path):
    model = build(PPO, torch.optim.Adam, features_extractor_kwargs={"frozen": True})
    model.learn(20)
    model.save(tmp_path / "model_20_steps.zip")
    _, skipped, doubts = series_norms([read_saved(tmp_path / "model_20_steps.zip")])
    assert skipped == {}
    assert doubts[0].startswith("3 of ")


class Harmful:
    """Unpickled, it would write a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.mark.parametrize("member", ["data", "policy.pth", "pytorch_variables.pth", "policy.optimizer.pth"])
def test_nothing_in_a_checkpoint_is_run(member, tmp_path):
    target, path = tmp_path / "written", tmp_path / "agent_10_steps.zip"
    weights = io.BytesIO()
    torch.save({"action_net.weight": torch.ones(2, 2)}, weights)
    with zipfile.ZipFile(path, "w") as archive:
        if member != "policy.pth":
            archive.writestr("policy.pth", weights.getvalue())
        archive.writestr(member, pickle.dumps(Harmful(target)))
    if member == "policy.pth":
        with pytest.raises(ValueError, match="holds no plain weights"):
            checkpoint_norms(path)
    else:
        assert checkpoint_norms(path) == {"total": 4.0, "policy": 4.0}
    assert not target.exists()
