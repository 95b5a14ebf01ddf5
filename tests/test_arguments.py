import pytest

import benchmarks.__main__ as benchmarks
from benchmarks import demo
from benchmarks.control import __main__ as control
from benchmarks.evidence import __main__ as evidence
from benchmarks.measure import __main__ as measure
from benchmarks.measure import synthetic
from benchmarks.moments import __main__ as moments


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (benchmarks, ["run", "smoke", "--out", "here", "--workers", "0"], "--workers: must be above 0, got 0"),
        (benchmarks, ["list", "--workers", "1.5"], "--workers: invalid int value: '1.5'"),
        (evidence, ["run", "--workers", "-1"], "--workers: must be above 0, got -1"),
        (evidence, ["run", "--minutes", "0"], "--minutes: must be above 0, got 0"),
        (evidence, ["run", "--minutes", "soon"], "--minutes: invalid float value: 'soon'"),
        (control, ["run", "--minutes", "nan"], "--minutes: must be above 0, got nan"),
        (
            evidence,
            ["save", "--out", "here"],
            "no finished run in here; `python -m benchmarks.evidence run --out here`",
        ),
        (moments, ["report", "--saved", "here"], "there is no trunk in here; run and control come first"),
        (control, ["report", "--saved", "here"], "there is no control_runs.parquet in here; run comes first"),
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
        (evidence, ["run", "--out"]),
        (evidence, ["save", "--out"]),
        (control, ["run", "--saved"]),
        (moments, ["control", "--saved"]),
        (demo, ["--out"]),
        (synthetic, ["3", "--out"]),
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
