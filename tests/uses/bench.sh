# Its commands; every agent that needs an extra of it; and the published pages, from the files beside them.
cat > mine.toml <<'END'
about = "does all of it work here?"
[[block]]
agent = "PPO"
env_id = ["CartPole-v1", "LunarLander-v3"]
timesteps = 1_024
seeds = 2
evaluations = 2
evaluation_episodes = 1
final_episodes = 2
[[block]]
agent = "CrossQ"
env_id = ["Pendulum-v1"]
timesteps = 300
arms = ["abel"]
seeds = 1
regularization = ["adamw"]
evaluations = 2
evaluation_episodes = 1
final_episodes = 2
END
out="$PWD/out"
mine="$PWD/mine.toml"
cd "$CHECKOUT"
python -m benchmarks list
python -m benchmarks run "$mine" --out "$out"
python -m benchmarks report "$out"
test -s "$out/report.html"
python -m benchmarks show "$(basename "$(ls -d "$out"/CrossQ*)")" --out "$out"
python -m rl_abel.inspection.cli inspect "$out" --html "$out/runs.html"
make --old-file .venv/bench.installed BIN="$BIN" results
