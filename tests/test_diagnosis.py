"""Why the norm moves: ``AbelCallback(diagnose=True)``, and what ``rl-abel inspect`` makes of it."""

import collections
import csv
import itertools
import json
import math

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure
from torch.optim.optimizer import register_optimizer_step_post_hook

from rl_abel import AbelCallback, weight_norms
from rl_abel.inspection.cli import main
from rl_abel.inspection.readers.find_runs import read_paths
from rl_abel.inspection.traces import Trace
from rl_abel.inspection.verdict import explain, judge
from rl_abel.networks.diagnosis import LAYERS, Diagnosis, largest_layers, layer_of
from rl_abel.networks.optimizers import steps_of
from tests.algorithms import ONE_OF_EACH, STEPS, make_model

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
one_of_each = pytest.mark.parametrize("name", ONE_OF_EACH)


def trained(name="PPO", steps=STEPS, **options):
    model, abel = make_model(name), AbelCallback(diagnose=True, measure_every=20, max_decays=0, **options)
    model.learn(steps, callback=abel)
    return model, abel


def parts(*values):
    return {"policy": {"a.weight": torch.tensor(values)}}


@pytest.mark.parametrize(
    ("before", "after", "displacement", "alignment"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0, 0),
        ([3.0, 4.0], [6.0, 8.0], 25, 50),  # away from the origin: 25 -> 100
        ([3.0, 4.0], [0.0, 0.0], 25, -50),  # to it: 25 -> 0
        ([3.0, 0.0], [3.0, 4.0], 16, 0),  # across: 9 -> 25
    ],
)
def test_terms(before, after, displacement, alignment):
    diagnosis = Diagnosis()
    diagnosis.observe(1, parts(*before), {"policy": 4})
    assert diagnosis.latest == {"layer/a": sum(w * w for w in before)}, "nothing to compare with"
    diagnosis.observe(2, parts(*after), {"policy": 9})
    found = diagnosis.latest
    assert (found["displacement_policy"], found["alignment_policy"]) == (displacement, alignment)
    assert (found["displacement_total"], found["alignment_total"]) == (displacement, alignment)
    # Five updates, one fifth of the way each.
    expected = [math.sqrt(displacement) / 5 / math.hypot(*after)] * 2 if any(after) else []
    assert [found[f"relative_update_{part}"] for part in ("total", "policy") if any(after)] == pytest.approx(expected)


def test_without_a_step_there_is_no_relative_update():
    """The optimizer has been replaced by a new one, or has not stepped this part."""
    for steps in ({"policy": 4}, {"policy": 1}, {}):
        diagnosis = Diagnosis()
        diagnosis.observe(1, parts(3.0), {"policy": 4})
        diagnosis.observe(2, parts(4.0), steps)
        assert not [name for name in diagnosis.latest if name.startswith("relative")]
        diagnosis.observe(3, parts(5.0), {"policy": 6})
        assert diagnosis.history["displacement_policy"][1:] == [1, 1]
        assert diagnosis.history["relative_update_policy"][2] > 0


@pytest.fixture
def stepped():
    """How many steps have been taken on each parameter, by its id, whatever optimizer took them."""
    counts = collections.Counter()

    def count(optimizer, *_):
        counts.update(id(p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None)

    handle = register_optimizer_step_post_hook(count)
    yield counts
    handle.remove()


@one_of_each
def test_a_relative_update_is_of_one_step_of_the_optimizer(name, stepped):
    model, steps = make_model(name), []

    class Note(AbelCallback):
        def _measure(self, timestep):
            before = len(self.trace["timesteps"])
            super()._measure(timestep)
            if len(self.trace["timesteps"]) == before:
                return  # the weights have not moved
            counted = {
                part: max(stepped[id(p)] for p in named.values()) or self.model._n_updates
                for part, named in self._measurement.parts.items()
            }
            steps.append({"total": max(counted.values()), **counted})

    abel = Note(diagnose=True, measure_every=20, max_decays=0)
    model.learn(STEPS, callback=abel)
    trace, found = abel.trace, abel.diagnosis
    assert len(steps) == len(trace["timesteps"]) > 3
    for part in trace.keys() - {"timesteps"}:
        taken = np.diff([row[part] for row in steps])
        expected = np.sqrt(found[f"displacement_{part}"][1:]) / taken / np.sqrt(trace[part][1:])
        assert found[f"relative_update_{part}"][1:] == pytest.approx(expected, rel=1e-5)


def test_where_the_optimizer_counts_nothing_the_model_does():
    sgd = {"net_arch": [8], "optimizer_class": torch.optim.SGD}
    model, abel = make_model("DQN", policy_kwargs=sgd), AbelCallback(diagnose=True, measure_every=20, max_decays=0)
    model.learn(STEPS, callback=abel)
    assert steps_of(model, abel._measurement.parts) == {"value": model._n_updates}
    assert min(abel.diagnosis["relative_update_value"][1:]) > 0


@one_of_each
def test_the_terms_add_up_to_the_change(name):
    _, abel = trained(name)
    trace, found = abel.trace, abel.diagnosis
    assert found["timesteps"] == trace["timesteps"]
    assert len(trace["timesteps"]) > 3
    for part in trace.keys() - {"timesteps"}:
        terms = np.add(found[f"displacement_{part}"], found[f"alignment_{part}"])
        assert math.isnan(terms[0])
        assert terms[1:] == pytest.approx(np.diff(trace[part]), abs=1e-7 * max(trace[part]))
        assert min(found[f"displacement_{part}"][1:]) >= 0
    assert np.nanmax(found["displacement_total"]) > 0


@one_of_each
def test_layers_are_parts_of_the_whole(name):
    model, abel = trained(name)
    layers = {column: values for column, values in abel.diagnosis.items() if column.startswith("layer/")}
    assert 0 < len(layers) <= LAYERS
    modules = dict(model.policy.named_modules()) | dict(model.policy.named_parameters())
    assert all(column.removeprefix("layer/") in modules for column in layers)
    whole = sum(norms[-1] for part, norms in abel.trace.items() if part not in ("timesteps", "total"))
    assert sum(values[-1] for values in layers.values()) <= whole * (1 + 1e-6)


def test_the_ten_largest():
    many = {"policy": {f"net.{i}.weight": torch.ones(1 + i) for i in range(14)}, "log_std": {"log_std": torch.ones(2)}}
    assert largest_layers(many) == [f"net.{i}" for i in range(13, 3, -1)]
    assert [layer_of(name) for name in ("a.b.weight", "log_std")] == ["a.b", "log_std"]


def test_measuring_changes_nothing():
    norms = []
    for diagnose in (False, True):
        model, abel = make_model("PPO"), AbelCallback(diagnose=diagnose, max_decays=0)
        model.learn(STEPS, callback=abel)
        norms.append((weight_norms(model), abel.trace, abel.decays))
    assert norms[0] == norms[1]
    assert AbelCallback().diagnosis == {}


def test_one_copy_of_the_weights():
    model, abel = trained()
    kept = abel._measurement.diagnosis._before
    ours = {id(p) for p in model.policy.parameters()}
    assert sum(t.numel() for t in kept.values()) == sum(p.numel() for p in model.policy.parameters())
    assert not ours & {id(t) for t in kept.values()}


def test_training_goes_on_with_the_same_callback():
    model, abel = trained(steps=200, final_decay_at=None)
    model.learn(200, callback=abel, reset_num_timesteps=False)
    found = abel.diagnosis
    assert found["timesteps"] == abel.trace["timesteps"]
    assert np.isnan(found["alignment_total"]).tolist() == [True] + [False] * (len(found["timesteps"]) - 1)
    model.learn(200, callback=abel)
    assert abel.diagnosis["timesteps"] == abel.trace["timesteps"], "a training from the start is a diagnosis of its own"


def test_a_loaded_model_begins_to_compare_anew(tmp_path):
    model, _ = trained(steps=200, final_decay_at=None)
    model.save(tmp_path / "model")
    loaded, abel = type(model).load(tmp_path / "model", env=model.get_env()), AbelCallback(diagnose=True, max_decays=0)
    loaded.learn(200, callback=abel, reset_num_timesteps=False)
    found, trace = abel.diagnosis, abel.trace
    assert found["timesteps"] == trace["timesteps"][-len(found["timesteps"]) :]
    assert 3 < len(found["timesteps"]) < len(trace["timesteps"])
    assert math.isnan(found["displacement_total"][0])


# Logs


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Logs of a run with weight decay, and of one without."""
    folders = {}
    for weight_decay in (0.0, 0.5):
        folder = folders[weight_decay] = tmp_path_factory.mktemp("logged")
        optimizer = {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": weight_decay}}
        model = make_model("PPO", policy_kwargs={"net_arch": [8], **optimizer})
        model.set_logger(configure(str(folder), ["csv", "tensorboard"]))
        model.learn(30 * 20, callback=AbelCallback(diagnose=True), log_interval=1)
        model.logger.close()
    return folders


def test_logged_terms_add_up(logged):
    with (logged[0.5] / "abel.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 50
    for before, now in itertools.pairwise(rows):
        for part in ("total", "policy", "value"):
            change = float(now[part]) - float(before[part])
            terms = float(now[f"displacement_{part}"]) + float(now[f"alignment_{part}"])
            assert change == pytest.approx(terms, abs=1e-6 * float(now["total"]))


def test_progress_holds_the_latest_of_everything(logged):
    with (logged[0.5] / "progress.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["abel/displacement_total"]]
    assert len(rows) > 10
    assert {float(row["abel/weight_decay"]) for row in rows} == {0.5}
    assert any(name.startswith("abel/layer/mlp_extractor.policy_net") for name in rows[0])


def test_long_names_of_layers_stay_out_of_the_terminal(tmp_path, capsys):
    """SB3's table raises where two names are the same once they are cut."""
    model = make_model("PPO", policy_kwargs={"net_arch": [8] * 11}, verbose=1)
    model.set_logger(configure(str(tmp_path), ["stdout", "log", "csv"]))
    model.learn(100, callback=AbelCallback(diagnose=True, max_decays=0), log_interval=1)
    model.logger.close()
    printed = capsys.readouterr().out
    assert "displacement_total" in printed
    assert "layer/" not in printed
    assert "abel/layer/mlp_extractor.policy_net.2" in (tmp_path / "progress.csv").read_text()


@pytest.mark.parametrize("source", ["progress.csv", "events*"])
@pytest.mark.parametrize(("weight_decay", "said"), [(0.0, "Why: no weight decay"), (0.5, "alignment")])
def test_inspect_explains_logs(source, weight_decay, said, logged, capsys):
    (path,) = logged[weight_decay].glob(source)
    assert main(["inspect", str(path)]) == 0
    assert said in capsys.readouterr().out
    assert main(["inspect", "--json", str(path)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert said in found["explanation"]


NAN = math.nan


@pytest.mark.parametrize(
    ("displacement", "alignment", "weight_decay", "bounces", "said"),
    [
        (
            [1.0] * 9,
            [-0.5] * 9,
            0.0,
            [],
            "no weight decay, so nothing pulls the norm down by itself; lately alignment took 50%",
        ),
        ([1.0] * 9, [0.5] * 9, 0.0, [], "lately alignment added 0.5 times as much as displacement"),
        ([1.0] * 9, [-0.5] * 9, 0.1, [], "too weak at this rate and weight decay; lately alignment took 50%"),
        ([1.0] * 9, [-0.5] * 9, None, [], "too weak at this rate and weight decay"),
        ([1.0] * 9, [0.5] * 9, 0.1, [], "lately alignment added 0.5 times as much"),
        ([1.0] * 9, [-0.5] * 6 + [-0.95] * 3, 0.1, [], "at equilibrium; lately alignment took 95%"),
        ([1.0] * 9, [-1.5] * 9, 0.1, [], "still falling, and no rise has come yet; lately alignment took 150%"),
        ([NAN, *[1.0] * 8], [NAN, *[-0.5] * 8], 0.1, [], "lately alignment took 50%"),
        (
            [1.0] * 10,
            [-1.5] * 5 + [-0.5] * 5,
            0.1,
            [9],
            "minimum at timestep 4 alignment took 150% of what displacement added; after it, it took 50%",
        ),
        ([NAN] * 9, [NAN] * 9, 0.1, [], None),
        ([1.0, 1.0], [-1.0, -1.0], 0.1, [], None),
    ],
)
def test_explanations(displacement, alignment, weight_decay, bounces, said):
    norms = [100 - 0.5 * t if t <= 4 else 98 + 0.5 * (t - 4) for t in range(len(displacement))]
    terms = {"displacement_total": displacement, "alignment_total": alignment}
    trace = Trace("x", "csv", list(range(len(norms))), {"total": norms}, terms, weight_decay)
    found = explain(trace, bounces)
    assert found == "" if said is None else said in found
    assert not explain(Trace("x", "csv", trace.timesteps, trace.norms), bounces), "no terms, no reason"


def test_inspect_reads_how_far_an_update_goes(logged, capsys):
    assert main(["inspect", str(logged[0.5])]) == 0
    assert "rate from 0.001 to 0.0001: decays ×0.1" in " ".join(capsys.readouterr().out.split())
    rows = list(csv.DictReader((logged[0.5] / "abel.csv").read_text().splitlines()))
    (found,) = [judge(trace) for trace in read_paths([logged[0.5]])]
    for part in ("total", "policy", "value"):
        logged_updates = [float(row[f"relative_update_{part}"] or "nan") for row in rows]
        assert found.trace.terms[f"relative_update_{part}"] == pytest.approx(logged_updates, nan_ok=True, rel=1e-6)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_diagnose_is_a_flag(value):
    with pytest.raises(ValueError, match="diagnose must be True or False, got"):
        AbelCallback(diagnose=value)
