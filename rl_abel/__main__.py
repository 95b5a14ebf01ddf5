"""``python -m rl_abel``, the command ``rl-abel`` where the console script is not on the path."""

from rl_abel.inspection.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
