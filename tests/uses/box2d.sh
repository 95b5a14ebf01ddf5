cd "$CHECKOUT"
python -m tests.uses.step box2d
