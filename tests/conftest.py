"""One thread a process, here and in what the tests start: tiny tensors gain nothing from more, and two busy processes lose much."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
