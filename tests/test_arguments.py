import pytest

import benchmarks.__main__ as benchmarks
from benchmarks import demo
from benchmarks.measure import __main__ as measure
from benchmarks.study import __main__ as study


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (benchmarks, ["run", "smoke", "--out", "here", "--workers", "0"], "--workers: must be above 0, got 0"),
        (benchmarks, ["run", "smoke", "--out", "here", "--workers", "1.5"], "--workers: invalid int value: '1.5'"),
        (study, ["run", "evidence", "--workers", "-1"], "--workers: must be above 0, got -1"),
        (study, ["run", "evidence", "--minutes", "0"], "--minutes: must be above 0, got 0"),
        (study, ["run", "evidence", "--minutes", "soon"], "--minutes: invalid float value: 'soon'"),
        (study, ["run", "control", "--minutes", "nan"], "--minutes: must be above 0, got nan"),
        (
            study,
            ["run", "here"],
            "study must be one of ['evidence', 'control', 'moments', 'automatic', 'ppo'], got 'here'",
        ),
        (
            study,
            ["save", "evidence", "--out", "here"],
            "no finished run in here/evidence; `python -m benchmarks.study run evidence`",
        ),
        (study, ["report", "evidence", "--saved", "here"], "there is no saved run of evidence in here; run and save"),
        (study, ["report", "moments", "--saved", "here"], "there is no trunk in here; run comes first"),
        (study, ["report", "control", "--saved", "here"], "there is no control_runs.parquet in here; run comes first"),
    ],
)
def test_wrong_usage_is_a_message_and_status_2(command, arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        command.main(arguments)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (benchmarks, ["run", "smoke", "--out"]),
        (benchmarks, ["report"]),
        (benchmarks, ["show", "any", "--out"]),
        (study, ["run", "evidence", "--out"]),
        (study, ["save", "evidence", "--out"]),
        (study, ["run", "control", "--saved"]),
        (study, ["report", "moments", "--saved"]),
        (demo, ["--out"]),
    ],
)
@pytest.mark.parametrize("below", ["", "/runs"])
def test_a_file_is_no_folder(command, arguments, below, capsys, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as exit_:
        command.main([*arguments, f"{tmp_path}/file{below}"])
    assert exit_.value.code == 2
    assert f"not a folder: {tmp_path}/file{below}" in capsys.readouterr().err
    assert (tmp_path / "file").is_file()


def test_measure_without_a_name_lists_the_names(capsys):
    assert measure.main([]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert listed == list(measure.NAMES)
    assert measure.main(["speed"]) == 2
    assert "name must be one of ['overhead', " in capsys.readouterr().err


@pytest.mark.parametrize("name", measure.NAMES)
def test_every_measurement_has_its_command(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        measure.main([name, "--help"])
    assert exit_.value.code == 0
    assert f"usage: python -m benchmarks.measure {name}" in capsys.readouterr().out
