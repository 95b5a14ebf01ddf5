cd "$CHECKOUT"
python -m tests.uses.step atari
