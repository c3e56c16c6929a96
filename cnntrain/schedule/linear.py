"""Linear decay: a straight way down from the peak, with a straight way up to it if there is a warm-up.

Defazio et al. 2023, "Optimal Linear Decay Learning Rate Schedules and Further Refinements", arXiv 2310.07831. With a warm-up of a fifth
of the run it is the triangle of the CIFAR-10 speed runs (Jordan 2024, arXiv 2404.00498: up from 0.2 in 23 % of the run, down to 0.07).
"""

from cnntrain.schedule.ramp import Annealing, Clock, linear
from cnntrain.units import DurationOrZero, Fraction


class Linear(Annealing):
    """From the peak in a straight line to ``final``, which is reached one step after the last and kept from there."""

    def __init__(self, *, clock: Clock, lr: float, final: Fraction = 0.0, warmup: DurationOrZero = 0, warmup_from: Fraction = 0.1) -> None:
        super().__init__(linear, clock=clock, lr=lr, final=final, warmup=warmup, warmup_from=warmup_from)
