# All tests can be imported; those of the packaging run.
cd "$CHECKOUT"
python -m pytest --collect-only
python -m pytest tests/test_packaging.py tests/test_architecture.py tests/test_envs.py
