"""One torch thread a test process: several fight for the cores when tests run side by side."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
