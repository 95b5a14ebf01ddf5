out="$PWD"
cd "$CHECKOUT"
python -m benchmarks.demo --timesteps 1000 --out "$out"
test -s "$out/demo.png"
