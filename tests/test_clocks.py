"""Which rows and which checkpoints are of one training."""

import json
import zipfile

import pytest

from rl_abel.inspection.readers.logs import join
from rl_abel.inspection.readers.sb3_zip import number_in, read_saved, runs_of


def rows(clock, start=100.0, slope=0.01):
    """Rows whose norm grows steadily, so that the norm tells when it is another's."""
    return [(t, {"weight_norm_total": start + slope * t}) for t in clock]


def clocks(runs):
    return [[timestep for timestep, _ in run] for run in runs]


K = 1000
FIRST = range(K, 11 * K, K)  # 1000 to 10000

BLOCKS = {
    # name: (blocks of (clock, norm at timestep 0), clocks of the runs)
    "one": ([(FIRST, 100)], [FIRST]),
    "a plain continuation": ([(FIRST, 100), (range(11 * K, 15 * K, K), 100)], [range(K, 15 * K, K)]),
    "a gap": ([(FIRST, 100), (range(20 * K, 25 * K, K), 100)], [[*FIRST, *range(20 * K, 25 * K, K)]]),
    "two from the start": ([(FIRST, 100), (FIRST, 100)], [FIRST, FIRST]),
    "two, the second finer": ([(FIRST, 100), (range(200, 3 * K, 200), 100)], [FIRST, range(200, 3 * K, 200)]),
    "two, the second coarser": (
        [(FIRST, 100), (range(4 * K, 40 * K, 4 * K), 100)],
        [FIRST, range(4 * K, 40 * K, 4 * K)],
    ),
    "a resume from before the end": ([(FIRST, 100), (range(8 * K, 13 * K, K), 100)], [range(K, 13 * K, K)]),
    "a resume from far before": ([(FIRST, 100), (range(4 * K, 13 * K, K), 100)], [range(K, 13 * K, K)]),
    "twice resumed": (
        [(FIRST, 100), (range(8 * K, 13 * K, K), 100), (range(12 * K, 16 * K, K), 100)],
        [range(K, 16 * K, K)],
    ),
    "a first attempt that was cut short": (
        [([512, 1024], 100), (range(2048, 9 * K, 2048), 900)],
        [[512, 1024], range(2048, 9 * K, 2048)],
    ),
    "thirty short calls": ([(range(K * i, K * i + K, 200), 100) for i in range(1, 31)], [range(K, 31 * K, 200)]),
    "one row a call": ([([K * i], 100) for i in range(1, 31)], [range(K, 31 * K, K)]),
    "a repeated end": ([(FIRST, 100), ([], 100)], [FIRST]),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_runs_by_their_clock(name):
    blocks, expected = BLOCKS[name]
    runs = [run.rows for run in join(rows(clock, start) for clock, start in blocks)]
    assert clocks(runs) == [list(clock) for clock in expected]


def test_rows_without_a_norm_tell_the_clock_too():
    """Off-policy logs have no norm before the first update: the clock alone says that a run has begun."""
    early = [(t, {"factor": 1.0}) for t in range(100, K, 100)]
    runs = join([rows(FIRST), [*early, *rows(range(9 * K, 12 * K, K))]])
    assert len(runs) == 2


def test_what_a_resume_overtakes_is_counted():
    (run,) = join([rows(FIRST), rows(range(7 * K, 13 * K, K))])
    assert (len(run.rows), run.overtaken) == (12, 3)


def test_what_is_in_force_is_logged_again_where_a_training_goes_on():
    again = [(10 * K, {"factor": 0.1}), *rows(range(11 * K, 13 * K, K))]
    (run,) = join([rows(FIRST), again])
    assert [t for t, values in run.rows if "weight_norm_total" in values] == [*range(K, 13 * K, K)]


# Checkpoints


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """Members of a zip of a small model, its data as a dict."""
    from tests.algorithms import make_model

    path = tmp_path_factory.mktemp("blank") / "model.zip"
    make_model("PPO").save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return members


@pytest.fixture
def save(blank, tmp_path):
    """Write a checkpoint as of any timestep and session."""

    def write(name, timestep, begin=0, session=1, seed=0, **more):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {**json.loads(blank["data"]), "num_timesteps": timestep, "_num_timesteps_at_start": begin, "seed": seed}
        data |= {"start_time": session * 10**18, **more}
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in blank.items():
                archive.writestr(member, json.dumps(data) if member == "data" else content)
        return path

    return write


def names(paths):
    return [[saved.path.name for saved in run] for run in runs_of(map(read_saved, paths))]


SERIES = [
    ("rl_model_{}_steps", (1000, 2000, 10000)),
    ("{}", (1000, 2000, 10000)),
    ("model-{}", (1000, 2000, 10000)),
    ("step={}", (1000, 2000, 10000)),
    ("ckpt.{}", (1000, 2000, 10000)),
    ("PPO v2 ({})", (1000, 2000, 10000)),
    ("a_{}_steps", ("1_000", "2_000", "10_000")),
    ("epoch{}", (1, 2, 3)),
    ("step_{}/model", (1000, 2000, 10000)),
    ("nach_{}_Schritten", (1, 2, 3)),
]


@pytest.mark.parametrize(("form", "said"), SERIES)
@pytest.mark.parametrize("loop", [False, True], ids=["one learn", "a learn a checkpoint"])
def test_a_series_of_any_names(form, said, loop, save):
    """The content tells the order, whatever the names; one ``learn()`` or one for each checkpoint."""
    at = (1000, 2000, 10000)
    begins, sessions = ((0, *at), (1, 2, 3)) if loop else ((0, 0, 0), (1, 1, 1))
    paths = [save(f"{form.format(said[i])}.zip", at[i], begins[i], sessions[i]) for i in range(3)]
    assert [[saved.timestep for saved in run] for run in runs_of(map(read_saved, reversed(paths)))] == [[*at]]


@pytest.mark.parametrize("name", ["first second third", "a_-1.5 a_-0.2 a_3.1"])
def test_names_that_tell_nothing(name, save):
    paths = [save(f"{part}.zip", 1000 * i) for i, part in enumerate(name.split(), 1)]
    assert names(reversed(paths)) == [[path.name for path in paths]]


def test_sixty_new_over_a_hundred_old(save):
    paths = [save(f"rl_model_{i}_steps.zip", i, session=1 if i > 60 else 2) for i in range(1, 101)]
    assert [len(run) for run in names(paths)] == [40, 60]


def test_a_resume_overtakes(save):
    paths = [save(f"a_{t}_steps.zip", t) for t in (1000, 2000, 3000)]
    paths += [save(f"a_{t}_steps.zip", t, begin=2000, session=2) for t in (2500, 3500)]
    assert names(paths) == [["a_1000_steps.zip", "a_2000_steps.zip", "a_2500_steps.zip", "a_3500_steps.zip"]]


def test_several_series_in_one_folder(save):
    """Two that are trained by turns, a call of learn() for each checkpoint, and one of another seed."""
    paths, session = [], 0
    for i in range(1, 4):
        for name in ("x", "y"):
            session += 1
            paths.append(save(f"{name}_{1000 * i}.zip", 1000 * i, 1000 * (i - 1), session))
    paths += [save(f"x_seed1_{t}.zip", t, session=9, seed=1) for t in (500, 5000)]
    assert sorted(names(paths)) == [
        ["x_1000.zip", "x_2000.zip", "x_3000.zip"],
        ["x_seed1_500.zip", "x_seed1_5000.zip"],
        ["y_1000.zip", "y_2000.zip", "y_3000.zip"],
    ]


def test_final_models_are_a_run_each(save):
    paths = [save(f"final_{i}.zip", 1000 * i, session=i) for i in (1, 2, 3)]
    assert names(paths) == [["final_1.zip"], ["final_2.zip"], ["final_3.zip"]]


def test_the_best_model_is_of_the_run_that_saved_it(save):
    paths = [save(f"rl_model_{t}_steps.zip", t) for t in (1000, 3000)] + [save("best/best_model.zip", 2000)]
    assert names(paths) == [["rl_model_1000_steps.zip", "best_model.zip", "rl_model_3000_steps.zip"]]
    # A copy of a checkpoint is no measurement more, and that of an earlier training is its own run.
    paths += [save("copy.zip", 3000), save("old.zip", 2500, session=0.5)]
    assert [len(run) for run in names(paths)] == [1, 3]


def test_where_the_content_says_nothing_the_name_does(save):
    paths = [save(f"own_loop_{t}.zip", 0, session=0) for t in (30, 4, 200)]
    assert names(paths) == [["own_loop_4.zip", "own_loop_30.zip", "own_loop_200.zip"]]
    assert [read_saved(path).timestep for path in paths] == [30, 4, 200]


@pytest.mark.parametrize(
    ("stem", "number", "series"),
    [
        ("rl_model_10000_steps", 10_000, "rl_model_#_steps"),
        ("rl_model_10_000_steps_v2", 10_000, "rl_model_#_steps_v#"),
        ("run2_10240", 10_240, "run#_#"),
        ("best_model", None, "best_model"),
    ],
)
def test_numbers_in_names(stem, number, series, save):
    assert number_in(stem) == number
    assert read_saved(save(f"{stem}.zip", 10_000)).series.name == f"{series}.zip"
