"""One torch thread a test process: several fight for the cores when tests run side by side. Slow tests go first."""

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
# They take a twentieth of a training. A NaN that they would name shows in the numbers that are compared.
torch.distributions.Distribution.set_default_validate_args(False)
# Each full collection walks through all of torch and SB3, which takes a twelfth of a training.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

SLOW = ("packaging", "cluster", "browser", "published")


def pytest_collection_modifyitems(items):
    """Begin with the tests that wait for other processes, so that no worker waits for one alone at the end."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, SLOW)))
