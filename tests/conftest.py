"""What holds for every test."""

import os

import torch

# Sums of floats depend on how many threads share them, and tiny matrices are quickest on one. The processes that tests
# start inherit the choice.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
