cd "$CHECKOUT"
python -m tests.uses.step mujoco
