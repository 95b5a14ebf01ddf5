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
from rl_abel.inspection.readers.checkpoints import checkpoint_norms, ownership, read_weights, series_norms
from rl_abel.inspection.readers.find_runs import read_path
from rl_abel.inspection.readers.ownership import match, owned
from rl_abel.inspection.readers.sb3_zip import read_saved
from tests.algorithms import ALGORITHMS, STEPS, make_model

DQN_LIKE = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500}


class Features(BaseFeaturesExtractor):
    """A frozen backbone, a large buffer of no usual name, batch normalisation and layers that train."""

    def __init__(self, space, frozen=True):
        super().__init__(space, features_dim=8)
        size = space.shape[0]
        self.backbone = torch.nn.Linear(size, 64)
        self.backbone.requires_grad_(not frozen)
        self.scale = torch.nn.Parameter(torch.ones(8))
        self.register_buffer("positions", torch.full((5000, 32), 3.0))
        self.register_buffer("offset", torch.full((8,), 5.0))
        self.norm = torch.nn.BatchNorm1d(64)
        self.head = torch.nn.Linear(64, 8)
        self.after = torch.nn.LayerNorm(8)

    def forward(self, observations):
        hidden = self.norm(self.backbone(observations))
        return self.after(self.head(hidden)) * self.scale + self.positions.mean() * 0 + self.offset * 0


def trained_parameters(model):
    """Squared norm of what has a gradient and is an optimizer's, log_std apart: an oracle of its own."""
    policy = model.policy
    owners = [policy, getattr(policy, "actor", None), getattr(policy, "critic", None)]
    found = [getattr(owner, "optimizer", None) for owner in owners]
    optimizers = [optimizer for optimizer in found if isinstance(optimizer, torch.optim.Optimizer)]
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    parameters = {id(p): p for group in groups for p in group["params"] if p.requires_grad}
    parameters.pop(id(getattr(policy, "log_std", None)), None)
    return sum(float(p.detach().double().square().sum()) for p in parameters.values())


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


@pytest.mark.parametrize("reset", [False, True], ids=["goes on", "reset by each learn()"])
@pytest.mark.parametrize(
    "layout",
    [
        "{}/model.zip",
        "step={}/policy.zip",
        "checkpoint-{}/model",
        "{}_steps/best.zip",
        "rl_model_{}_steps",
        "{}",
        "agent.{}",
    ],
)
@pytest.mark.parametrize("left_out", [[], ["num_timesteps", "start_time"]], ids=["", "without a clock"])
def test_a_training_is_found_whatever_its_models_are_called(left_out, layout, reset, tmp_path):
    """Two trainings side by side, each in a loop of learn() and save()."""
    expected = {}
    for run in ("ppo/CartPole-v1_1", "ppo/CartPole-v1_2"):
        model = make_model("PPO", seed=None)
        norms = expected[str(tmp_path / run)] = []
        for i in range(1, 5):
            model.learn(20, reset_num_timesteps=reset)
            (tmp_path / run / layout.format(20 * i)).parent.mkdir(parents=True, exist_ok=True)
            model.save(tmp_path / run / layout.format(20 * i), exclude=left_out)
            norms.append((20 * i, pytest.approx(weight_norms(model)["total"], rel=1e-12)))
        np.savez(tmp_path / run / "evaluations.npz", timesteps=[20])
        torch.save(model.policy.state_dict(), tmp_path / run / "policy.pth")
    found = read_path(tmp_path)
    assert {run.path: [*zip(run.timesteps, run.norms["total"])] for run in found} == expected


def test_folders_called_after_seeds_are_trainings_of_their_own(tmp_path):
    for seed in (1, 2, 3):
        (tmp_path / str(seed)).mkdir()
        model = make_model("PPO", seed=seed)
        model.learn(60)
        model.save(tmp_path / str(seed) / "model")
    assert [(run.path, run.timesteps) for run in read_path(tmp_path)] == [
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


OPTIMIZERS = [torch.optim.Adam, torch.optim.RMSprop, torch.optim.NAdam, MatrixAdamW]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("algorithm", [PPO, SAC, TD3])
def test_buffers_and_frozen_weights_do_not_count(algorithm, optimizer, share, tmp_path):
    model = build(algorithm, optimizer, share_features_extractor=share)
    model.learn(80)
    model.save(tmp_path / "model.zip")
    assert checkpoint_norms(tmp_path / "model.zip")["total"] == pytest.approx(trained_parameters(model), rel=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_before_the_training_buffers_are_told_as_well(algorithm, optimizer, tmp_path):
    model = build(algorithm, optimizer, features_extractor_kwargs={"frozen": False})
    model.save(tmp_path / "model.zip")
    saved = read_saved(tmp_path / "model.zip")
    found = ownership(saved, read_weights(saved.path))
    assert checkpoint_norms(saved.path)["total"] == pytest.approx(trained_parameters(model), rel=1e-9)
    # Whether something is frozen is not in the file yet, and that is said.
    assert any("frozen" in doubt for doubt in found.doubts)


def test_a_series_counts_the_same_weights_throughout(tmp_path):
    """Before the training nothing tells what is frozen: the last checkpoint does, for all of them."""
    model = build(PPO, torch.optim.Adam)
    expected = []
    for steps in (0, 20, 40):
        if steps:
            model.learn(20, reset_num_timesteps=False)
        model.save(tmp_path / f"model_{steps}_steps.zip")
        expected.append(trained_parameters(model))
    rows, skipped, doubts = series_norms([read_saved(tmp_path / f"model_{t}_steps.zip") for t in (0, 20, 40)])
    assert [norms["total"] for _, norms in rows] == pytest.approx(expected, rel=1e-9)
    assert (skipped, doubts) == ({}, ())


def test_without_an_optimizer_a_strange_name_is_told(tmp_path):
    weights = {"action_net.weight": torch.ones(2, 2), "table": torch.ones(3), "norm.running_mean": torch.ones(5)}
    found = owned(weights, {})
    assert found.names == {"action_net.weight", "table"}
    assert found.doubts == ("no optimizer tells whether table is a weight or a buffer: it counts",)
    assert owned({"action_net.weight": torch.ones(2, 2)}, {}).doubts == ()


def test_an_optimizer_that_does_not_fit_is_told():
    weights = {"net.weight": torch.ones(2, 2), "net.running_mean": torch.ones(2)}
    state = {"state": {0: {"exp_avg": torch.ones(7)}}, "param_groups": [{"params": [0]}]}
    for broken in (state, None, {}, {"state": 1, "param_groups": 2}):
        found = owned(weights, {"policy.optimizer": broken})
        assert found.names == {"net.weight"}
        assert "does not fit the weights" in found.doubts[0]


A, B, C = (3,), (4, 3), (4,)


@pytest.mark.parametrize(
    ("groups", "candidates", "expected"),
    [
        # In order and by shape, buffers left out.
        ([[A, B]], {"a.weight": A, "buffer": C, "b.weight": B}, ([["a.weight", "b.weight"]], True)),
        # A parameter stands before a buffer of its shape; statistics are never weights if others are.
        ([[A]], {"weight": A, "table": A}, ([["weight"]], True)),
        ([[A]], {"running_mean": A, "bias": A}, ([["bias"]], True)),
        # Matrices in one group, vectors in another.
        ([[B], [A, C]], {"log_std": A, "l.weight": B, "l.bias": C}, ([["l.weight"], ["log_std", "l.bias"]], True)),
        ([[A, A]], {"m.x": A, "m.y": A, "m.z": A, "m.l.bias": A}, ([["m.x", "m.l.bias"]], True)),
        # Two that nothing tells apart.
        ([[A]], {"m.x": A, "n.y": A}, ([["m.x"]], False)),
        ([[A, A]], {"weight": A}, None),
        ([], {"weight": A}, None),
        # No state yet: as many as there are weights.
        ([[None, None]], {"weight": A, "running_var": A, "bias": A}, ([["weight", "bias"]], True)),
    ],
)
def test_matching(groups, candidates, expected):
    known = [[({shape} if shape else set(), bool(shape)) for shape in group] for group in groups]
    assert match(known, list(candidates.items())) == expected


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
