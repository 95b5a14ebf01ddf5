out="$PWD"
cd "$CHECKOUT"
python -m benchmarks.demo --timesteps 20000 --out "$out"
test -s "$out/demo.png"
