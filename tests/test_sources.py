"""Finished runs -> traces: logs of every form, whole or damaged, wherever they are."""

import csv
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.logger import configure
from torch.utils.tensorboard import SummaryWriter

from rl_abel import AbelCallback
from rl_abel.inspection.readers.csv_table import read_table
from rl_abel.inspection.readers.event_file import read_events
from rl_abel.inspection.readers.find_runs import NO_RUN, NOTHING, ROUTE, Skipped, read_paths
from rl_abel.inspection.readers.logs import event_blocks
from rl_abel.inspection.traces import Decayed, joined, make_trace, state_record, state_rows
from tests.algorithms import make_model
from tests.made_up import make_run

LOG = "time/total_timesteps,rollout/ep_rew_mean,abel/weight_norm_total,abel/bounces,abel/decays,abel/factor"
PENDULUM = {"algorithm": "PPO", "environment": "Pendulum-v1"}
FIXTURE = Path(__file__).parent / "fixtures" / "state_version_0.zip"


def write(path, *lines, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def traces(*paths):
    results = read_paths(paths)
    assert not [result for result in results if isinstance(result, Skipped)]
    return results


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A run with logs of both kinds and a zip, and the callback that saw it."""
    folder = tmp_path_factory.mktemp("logged")
    model, abel = make_model("PPO"), AbelCallback(final_decay_at=0.7, max_decays=0)
    model.set_logger(configure(str(folder), ["csv", "tensorboard"]))
    model.learn(30 * 20, callback=abel, log_interval=1)
    model.logger.close()
    model.save(folder / "last.zip")
    return folder, abel


# Every form of one run


@pytest.mark.parametrize(
    ("patterns", "source"), [(["progress.csv"], "csv"), (["events*"], "tensorboard"), (["last.zip"], "model")]
)
def test_each_source_holds_what_the_callback_saw(patterns, source, logged, tmp_path):
    folder, abel = logged
    for pattern in patterns:
        for path in folder.glob(pattern):
            shutil.copy(path, tmp_path)
    (trace,) = traces(tmp_path)
    assert trace.source == source
    seen = {part: norms for part, norms in abel.trace.items() if part != "timesteps"}
    assert list(trace.norms) == list(seen)
    for part, norms in seen.items():
        found, expected = ({f"{norm:.4g}" for norm in column} for column in (trace.norms[part], norms))
        # A log may have the last update too. progress.csv has but the latest measurement of each dump.
        assert len(found - expected) <= 1
        assert len(expected - found) <= (len(expected) // 2 if source == "csv" else 1)
    assert [decay.cause for decay in trace.record.decays] == [decay.cause for decay in abel.decays] == ["final"]
    assert trace.record.factor == pytest.approx(abel.factor, rel=1e-6)
    assert trace.record.n_bounces == abel.n_bounces


def test_a_run_is_told_once(logged, tmp_path):
    """Logs, their models, links to them, and the same path twice."""
    shutil.copytree(logged[0], tmp_path / "runs" / "PPO_1")
    shutil.move(tmp_path / "runs" / "PPO_1" / "last.zip", tmp_path / "last.zip")
    (tmp_path / "latest").symlink_to(tmp_path / "runs" / "PPO_1")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path)
    (trace,) = traces(tmp_path, tmp_path / "runs", tmp_path / "runs" / "PPO_1" / "progress.csv")
    assert Path(trace.path).exists()
    assert trace.record.exact, "the zip knows when, logs know by when"


def test_links_are_followed(logged, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "run").symlink_to(logged[0])
    (tmp_path / "here" / "broken.zip").symlink_to(tmp_path / "gone.zip")
    (trace,) = traces(tmp_path / "here")
    assert trace.path == str(tmp_path / "here" / "run")


def test_copies_are_runs_of_their_own(logged, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(logged[0], tmp_path / name)
    assert [Path(trace.path).name for trace in traces(tmp_path)] == ["a", "b"]


def test_abel_csv_goes_before_progress_csv(tmp_path):
    write(tmp_path / "progress.csv", LOG, *(f"{t},1,{t}.5,0,0,1" for t in range(200, 2001, 200)), "2000,1,9,0,1,0.1")
    measured = [f"{t},{t}.5,{t},0.5,0.25,1.0,0,0" for t in range(100, 2001, 100)]
    write(tmp_path / "abel.csv", "timesteps,total,policy,value,log_std,factor,bounces,decays", *measured)
    (trace,) = traces(tmp_path)
    assert (len(trace.timesteps), trace.record.exact) == (20, True)
    assert list(trace.norms) == ["total", "policy", "value", "log_std"]
    assert trace.path == str(tmp_path)
    (tmp_path / "abel.csv").write_text("timesteps,total\n")
    (trace, skipped) = sorted(read_paths([tmp_path]), key=lambda result: isinstance(result, Skipped))
    assert (len(trace.timesteps), skipped.path) == (11, str(tmp_path / "abel.csv"))


@pytest.mark.parametrize("name", ["progress.csv", "renamed.csv", "PPO (1).CSV", "nested/deep/progress.csv"])
def test_the_name_of_a_table_does_not_matter(name, tmp_path):
    write(tmp_path / name, LOG, *(f"{t},1,{t},0,0,1" for t in range(1, 9)))
    write(tmp_path / "0.monitor.csv", '#{"t_start": 1}', "r,l,t", "1,2,3")
    write(tmp_path / "data.csv", "a,b", "1,2")
    (trace,) = traces(tmp_path)
    assert len(trace.timesteps) == 8
    assert Path(trace.path).exists()


def test_run_json_of_others_hides_nothing(tmp_path):
    """Sacred writes a run.json, too."""
    write(tmp_path / "run.json", json.dumps({"command": "main", "status": "COMPLETED"}))
    write(tmp_path / "progress.csv", LOG, "1,1,5,0,0,1")
    (trace,) = traces(tmp_path)
    assert trace.source == "csv"
    (tmp_path / "progress.csv").unlink()
    assert read_paths([tmp_path]) == [Skipped(str(tmp_path), NOTHING)]


def test_a_run_of_the_benchmark(tmp_path):
    make_run(tmp_path, "PPO", "Task-v1", "abel", 0, np.random.default_rng(0))
    (trace,) = traces(tmp_path)
    assert (trace.source, len(trace.timesteps), trace.weight_decay) == ("run", 100, 0.0)
    assert trace.about == {"algorithm": "PPO", "environment": "Task-v1"}
    assert trace.record.decays == [Decayed(85_000, "final", 0.1)]


# What SB3 logs beside our tags


def test_rate_and_return_are_those_of_the_log(logged, tmp_path):
    folder, _ = logged
    rows = list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))
    columns = {"learning rate": "train/learning_rate", "episode reward": "rollout/ep_rew_mean"}
    expected = {
        name: [(int(row["time/total_timesteps"]), float(row[column])) for row in rows if row[column]]
        for name, column in columns.items()
    }
    assert sorted({round(rate, 9) for _, rate in expected["learning rate"]}) == [1e-4, 1e-3]
    for pattern, about in (("progress.csv", {}), ("events*", PENDULUM), ("*", PENDULUM)):
        for path in folder.glob(pattern):
            shutil.copy(path, tmp_path)
        (trace,) = traces(tmp_path)
        assert trace.about == about
        for name, points in expected.items():
            # TensorBoard has the last update too, and single precision.
            assert [t for t, _ in trace.curves[name]][: len(points)] == [t for t, _ in points]
            assert [v for _, v in trace.curves[name]][: len(points)] == pytest.approx([v for _, v in points])


def test_curves_do_not_tell_runs_apart(tmp_path):
    """Evaluations on a clock of their own, which begins again, and after the last measurement."""
    writer = SummaryWriter(str(tmp_path))
    for i in range(1, 21):
        writer.add_scalar("eval/mean_reward", i, (i - 1) % 10 + 1)
        writer.add_scalar("abel/weight_norm_total", 100 + i, 100 * i)
    writer.add_scalar("eval/mean_reward", 0, 9_999)
    writer.add_scalar("eval/mean_reward", math.nan, 10_000)
    writer.close()
    (trace,) = traces(tmp_path)
    assert len(trace.timesteps) == 20
    assert trace.curves == {"evaluation": [(i, 10 + i) for i in range(1, 11)] + [(9_999, 0)]}
    assert trace.about == {}


# Several runs in one folder


def test_event_files_of_two_settings(tmp_path):
    """Neither bounces; read as one run the norm would fall and rise."""
    for start, step in ((100, 2048), (40, 512)):
        writer = SummaryWriter(str(tmp_path), filename_suffix=f".{start}")
        for i in range(1, 41):
            writer.add_scalar("abel/weight_norm_total", start + i, i * step)
        writer.close()
    found = traces(tmp_path)
    assert [(trace.timesteps[0], trace.norms["total"][0], trace.of) for trace in found] == [
        (2048, 101, (1, 2)),
        (512, 41, (2, 2)),
    ]


def test_a_resume_into_the_same_folder(tmp_path):
    for first, last in ((1, 14), (11, 30)):
        writer = SummaryWriter(str(tmp_path), filename_suffix=f".{first}")
        for i in range(first, last + 1):
            writer.add_scalar("abel/weight_norm_total", 100 + i + 0.01 * first, 1000 * i)
            writer.add_scalar("train/learning_rate", first, 1000 * i)
        writer.close()
    (trace,) = traces(tmp_path)
    assert trace.timesteps == [1000 * i for i in range(1, 31)]
    assert trace.norms["total"][10] == pytest.approx(111.11)
    assert trace.curves["learning rate"] == [(1000 * i, 1 if i < 11 else 11) for i in range(1, 31)]


@pytest.mark.parametrize("again", [[LOG], []], ids=["a second header", "a clock that goes back"])
def test_two_runs_in_one_table(again, tmp_path):
    run = [f"{t},1,{t},0,0,1" for t in range(100, 1001, 100)]
    write(tmp_path / "progress.csv", LOG, *run, *again, *run)
    assert [(len(trace.timesteps), trace.of) for trace in traces(tmp_path)] == [(10, (1, 2)), (10, (2, 2))]


def test_another_header_of_the_same_run(tmp_path):
    other = "abel/weight_norm_policy,time/total_timesteps,abel/weight_norm_total"
    write(tmp_path / "progress.csv", LOG, "1,1,5,0,0,1", "2,1,6,0,0,1", other, "1.5,3,7", "1.6,4,8")
    (trace,) = traces(tmp_path)
    assert (trace.timesteps, trace.norms["total"]) == ([1, 2, 3, 4], [5, 6, 7, 8])
    assert trace.norms["policy"][2:] == [1.5, 1.6]


def test_each_tag_has_a_clock_of_its_own():
    """Norms come at their own timesteps, the rest at dumps; the last update may have a dump of its own."""
    tags = {"n": "abel/weight_norm_total", "f": "abel/factor"}
    log = [("f", 100, 1), ("n", 40, 5), ("n", 80, 6), ("f", 200, 1), ("n", 180, 7), ("n", 200, 8), ("n", 200, 9)]
    (rows,) = event_blocks((step, tags[tag], value) for tag, step, value in log)
    assert [(step, values["weight_norm_total"]) for step, values in rows if "weight_norm_total" in values] == [
        (40, 5),
        (80, 6),
        (180, 7),
        (200, 8),
        (200, 9),
    ]
    assert len(event_blocks((step, tags[tag], value) for tag, step, value in [*log, ("n", 40, 5)])) == 2


def test_terms_at_a_dump_are_those_of_the_latest_measurement():
    norms = [(t, {"weight_norm_total": float(t)}) for t in (1, 3, 4)]
    dumps = [(t, {"displacement_total": 10.0 * t, "alignment_total": -t}) for t in (2, 5, 6)]
    trace = make_trace("x", "tensorboard", sorted([*norms, *dumps], key=lambda row: row[0]))
    assert trace.terms["displacement_total"] == pytest.approx([20.0, float("nan"), 50.0], nan_ok=True)
    assert trace.terms["alignment_total"] == pytest.approx([-2, float("nan"), -5], nan_ok=True)


# What was damaged


def test_bad_cells_cost_no_more_than_themselves(tmp_path):
    lines = [LOG, "100,n/a,5,0,0,1", "200,1,n/a,0,0,1", "oops", "abc,1,7,0,0,1", "300,1,8,0,0,1", "400,1,9"]
    write(tmp_path / "progress.csv", *lines)
    (trace,) = traces(tmp_path)
    assert (trace.timesteps, trace.norms["total"]) == ([100, 300, 400], [5, 8, 9])
    (said,) = trace.skipped.values()
    assert said == "4 cells could not be read (first: 'n/a' in line 2)"
    assert trace.curves["episode reward"] == [(200, 1), (300, 1), (400, 1)], "the measurement's row is not needed"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_that_a_spreadsheet_has_saved(encoding, tmp_path):
    write(tmp_path / "progress.csv", LOG, "100,1,5.5,0,0,1", "200,1,6.5,0,0,1", "", encoding=encoding)
    (trace,) = traces(tmp_path)
    assert (trace.norms["total"], trace.skipped) == ([5.5, 6.5], {})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # SB3 writes a shorter header first and pads; a row that was cut off has no end.
        (["abel/weight_norm_total,time/total_timesteps", "5.0,1,", "6.0,2", "7.0"], [(1, 5.0), (2, 6.0)]),
        (["time/total_timesteps,abel/weight_norm_total", "", "1,", "2,5.0", "3,5.0", "4,6.0", "5"], [(2, 5), (4, 6)]),
        (['"time/total_timesteps","abel/weight_norm_total"', '"1e3"," 5 "'], [(1000, 5.0)]),
        (["TIME/total_timesteps , abel/weight_norm_total\r", "1, 5\r", "2, 6\r"], [(1, 5.0), (2, 6.0)]),
        (["step,abel/weight_norm_total", "nan,1", "inf,2", "-3,3", "4,4"], [(4, 4.0)]),
    ],
)
def test_rows_of_tables(lines, expected):
    trace = make_trace("x", "csv", [row for rows in read_table(lines).blocks for row in rows])
    assert list(zip(trace.timesteps, trace.norms["total"])) == expected


def test_a_total_is_made_up_of_all_parts_or_not_at_all():
    header = "timesteps,total,policy,value,log_std"
    table = read_table([header, "1,,2,3,9", "2,,2,x,9", "3,6,2,4,9"])
    trace = make_trace("x", "csv", table.blocks[0], every_row_new=True)
    assert (trace.timesteps, trace.norms["total"]) == ([1, 3], [5.0, 6.0])


def test_event_files_are_read_as_tensorboard_reads_them(logged, tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    (events,) = logged[0].glob("events*")
    loaded = [(event.step, v) for event in LegacyEventFileLoader(str(events)).Load() for v in event.summary.value]
    expected = [(step, v.tag, v.simple_value) for step, v in loaded if v.tag.startswith("abel/")]
    read = read_events(events, ("abel/",))
    assert (read.scalars, read.left_over) == (expected, 0)
    assert read.begun == pytest.approx(float(events.name.split(".")[3]), abs=2)
    data = events.read_bytes()
    for length in (0, 5, 12, len(data) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:length])
        cut = read_events(tmp_path / "cut", ("abel/",))
        assert cut.scalars == expected[: len(cut.scalars)]
        assert (bool(cut.scalars), cut.left_over > 0) == (length > 12, length > 0)


def test_a_damaged_event_file_is_read_as_far_as_it_goes(logged, tmp_path):
    (events,) = logged[0].glob("events*")
    (tmp_path / events.name).write_bytes(events.read_bytes()[:-100])
    (trace,) = traces(tmp_path)
    assert len(trace.timesteps) > 10
    assert "cut off or damaged" in trace.skipped[str(tmp_path / events.name)]


@pytest.mark.parametrize("pattern", ["progress.csv", "events*", "last.zip", "*"])
def test_no_damage_stops_it(pattern, logged, tmp_path):
    """Bytes that are changed, lost or doubled anywhere."""
    rng = np.random.default_rng(0)
    for path in logged[0].glob(pattern):
        shutil.copy(path, tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for _ in range(25):
        for path, data in whole.items():
            damaged = bytearray(data)
            for place in rng.integers(len(data), size=20):
                damaged[place] = rng.integers(256)
            at = rng.integers(len(data), size=2)
            path.write_bytes(bytes(damaged[: max(at)] + damaged[min(at) :]))
        assert read_paths([tmp_path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_left_alone(tmp_path):
    os.mkfifo(tmp_path / "progress.csv")
    assert read_paths([tmp_path]) == [Skipped(str(tmp_path), NOTHING)]
    assert read_paths([tmp_path / "progress.csv"]) == [Skipped(str(tmp_path / "progress.csv"), NO_RUN)]


def test_an_encrypted_zip(tmp_path):
    data = bytearray(FIXTURE.read_bytes())
    for mark, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        while place >= 0:
            data[place + flag] |= 1
            place = data.find(mark, place + 4)
    (tmp_path / "model.zip").write_bytes(data)
    (skipped,) = read_paths([tmp_path])
    assert "encrypted" in skipped.reason


# What the callback did


def statuses(*rows):
    return [(t, {"bounces": bounces, "decays": decays, "factor": factor}) for t, bounces, decays, factor in rows]


@pytest.mark.parametrize(
    ("rows", "bounces", "decays", "factor"),
    [
        ([(1, {}), (2, {})], None, None, None),
        ([(1, {"bounces": 0, "decays": 0, "factor": 1})], [], [], 1),
        (
            statuses((1, 0, 0, 1), (2, 1, 1, 0.5), (3, 1, 2, 0.05)),
            [2],
            [Decayed(2, "bounce", 0.5), Decayed(3, "final", 0.1)],
            0.05,
        ),
        # max_decays=0: seen, not decayed.
        ([(1, {"bounces": 0, "decays": 0, "factor": 1}), (2, {"bounces": 1})], [2], [], 1),
        # Two between two dumps, and a final decay that lapses.
        (
            statuses((1, 2, 2, 0.25), (2, 2, 3, 0.025), (3, 2, 2, 0.25)),
            [1, 1],
            [Decayed(1, "bounce", 0.5), Decayed(1, "bounce", 0.5), Decayed(2, "final", pytest.approx(0.1))],
            0.25,
        ),
        ([(1, {"factor": 1}), (2, {"factor": 0.1})], [], [Decayed(2, "final", 0.1)], 0.1),
        # A linear one.
        (
            statuses((1, 0, 0, 1), (2, 0, 1, 0.75), (3, 0, 1, 0.5), (4, 0, 1, 0.25)),
            [],
            [Decayed(2, "final", pytest.approx(0.25))],
            0.25,
        ),
    ],
)
def test_what_happened(rows, bounces, decays, factor):
    rows = [(t, {"weight_norm_total": float(t), **values}) for t, values in rows]
    record = make_trace("x", "csv", rows).record
    if bounces is None:
        assert record is None
    else:
        assert (record.bounces, record.decays, record.factor) == (bounces, decays, factor)


def test_the_memory_of_a_saved_model():
    (trace,) = traces(FIXTURE)
    assert (trace.path, trace.source, len(trace.timesteps)) == (str(FIXTURE), "model", 10)
    assert trace.record.decays == [Decayed(80, "bounce", 0.5)]
    assert trace.norms["total"] == pytest.approx([p + v for p, v in zip(trace.norms["policy"], trace.norms["value"])])


@pytest.mark.parametrize(
    ("state", "rows"),
    [
        ({"parts": ["policy"], "trace": ["[5, 2.5]", "[6, 3]"]}, 2),
        ({"parts": ["policy"], "trace": ["[5, 2.5]", "[6, 3", "[7]", None, 5, [8, 1.0]]}, 2),
        ({"parts": 5, "trace": ["[5, 2.5]"]}, 0),
        ({"parts": "policy", "trace": 5}, 0),
        ({}, 0),
    ],
)
def test_memories_that_are_not_as_expected(state, rows):
    assert len(state_rows(state)) == rows
    assert state_record(state) is None


def memory(begin, trace, decays=(), **more):
    rows = [str([t, float(t)]) for t in trace]
    return {"begin": begin, "parts": ["policy"], "trace": rows, "decays": list(decays), "n_bounces": 0, **more}


def test_a_run_of_several_trainings():
    """A loop of learn(): each call is a training with a memory of its own, and its last memory counts."""
    states = [
        memory([0, 0], [1, 2], [[2, "bounce", 0.5]], n_bounces=1, bounces=[2]),
        memory([0, 0], [1, 2, 3, 4], [[2, "bounce", 0.5], [4, "final", 0.1]], n_bounces=1, bounces=[2]),
        memory([4, 9], [5, 6], [[2, "bounce", 0.5], [6, "final", 0.1]], n_bounces=1, bounces=[2]),
        memory([6, 9], [], [[2, "bounce", 0.5]], n_bounces=1, bounces=[2]),
    ]
    rows, record = joined(states)
    assert [t for t, _ in rows] == [1, 2, 3, 4, 5, 6]
    assert (record.n_bounces, record.bounces, record.factor) == (1, [2], 0.5)
    assert record.decays == [Decayed(2, "bounce", 0.5), Decayed(4, "final", 0.1), Decayed(6, "final", 0.1)]
    assert joined([]) == ([], None)


# What is no run

FOREIGN = {
    "progress.csv": ("time/total_timesteps,rollout/ep_rew_mean\n1,2\n", ROUTE),
    "events.out.tfevents.1.x": ("no events", ROUTE),
    "agent_1_steps.zip": ("no zip", "not a readable zip"),
    "abel.csv": ("timesteps,total\n", "holds no measurement"),
    "run.json": ("{}", NOTHING),
    "notes.txt": ("hello", NOTHING),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_cannot_be_read_is_named(name, tmp_path):
    content, reason = FOREIGN[name]
    write(tmp_path / name, content)
    (skipped,) = read_paths([tmp_path])
    assert reason in skipped.reason
    assert str(tmp_path) in skipped.path
    assert Path(skipped.path).exists()


def test_files_that_are_no_runs(tmp_path):
    write(tmp_path / "notes.txt", "hello")
    assert read_paths([tmp_path / "notes.txt"]) == [Skipped(str(tmp_path / "notes.txt"), NO_RUN)]
    assert read_paths([tmp_path / "gone"]) == [Skipped(str(tmp_path / "gone"), "no such file or folder")]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    (skipped,) = read_paths([tmp_path])
    assert skipped.path == str(tmp_path / "closed")


def test_a_model_may_have_any_name(logged, tmp_path):
    """SB3 saves by the name that it is given. Files of one folder that are given by name are read together."""
    for pattern, name in (("events*", None), ("last.zip", "model"), ("progress.csv", None)):
        (path,) = logged[0].glob(pattern)
        shutil.copy(path, tmp_path / (name or path.name))
    assert [trace.source for trace in traces(tmp_path / "model")] == ["model"]
    assert len(traces(*tmp_path.iterdir())) == 1
