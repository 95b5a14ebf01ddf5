"""The command that measures the engine's speed: what it launches, and the ratios that it prints."""

import pytest

from benchmarks.measure import throughput


def test_classic_is_the_suite_in_a_fifth_of_the_time():
    blocks = throughput.classic(throughput.FIVE, ("none", "adamw"), shorter=5)
    assert [block["env_id"] for block in blocks] == [env_id for env_id, _ in throughput.CLASSIC]
    assert [5 * block["timesteps"] for block in blocks] == [timesteps for _, timesteps in throughput.CLASSIC]
    assert {(5 * block["evaluations"], 5 * block["final_episodes"]) for block in blocks} == {(20, 100)}


def test_a_suite_is_launched_for_real_and_its_records_are_read():
    block = {"agent": "PPO", "env_id": "CartPole-v1", "timesteps": 512, "arms": ["constant", "step"], "seeds": 1}
    block |= {"evaluations": 1, "evaluation_episodes": 1, "final_episodes": 1}
    seconds, records = throughput.run_suite([block], 1)
    assert seconds > 0
    assert sorted(record["arm"] for record in records) == ["constant", "step"]
    assert all(0 < record["evaluation_time_s"] < record["wall_time_s"] for record in records)


@pytest.mark.parametrize(("only", "said"), [("workers", "one worker / two"), ("branches", "five arms / one")])
def test_the_ratio_is_the_median_of_pairs_measured_in_turn(only, said, monkeypatch, capsys):
    # Above and below alternate: 2 / 1, 9 / 3, 8 / 2.
    seconds = iter([2.0, 1.0, 9.0, 3.0, 8.0, 2.0])
    monkeypatch.setattr(throughput, "_seconds", lambda command: next(seconds))
    throughput.main(["--only", only, "--repeats", "3"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(said)
    assert " 3.000 " in line
    assert "2.00 3.00 4.00" in line


def test_evaluations_are_told_as_a_share_of_the_run(monkeypatch, capsys):
    monkeypatch.setattr(
        throughput, "run_suite", lambda blocks, workers: (1.0, [{"evaluation_time_s": 1.0, "wall_time_s": 16.0}])
    )
    throughput.main(["--only", "evaluations"])
    assert "6.2%" in capsys.readouterr().out
