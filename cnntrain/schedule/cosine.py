"""Cosine annealing over the whole run (Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5 with one cycle).

With warm-up, the cosine covers the steps after it (He et al. 2019, "Bag of Tricks", arXiv 1812.01187, section 5.1).
"""

from cnntrain.schedule.ramp import Annealing, Clock, cosine
from cnntrain.units import DurationOrZero, Fraction


class Cosine(Annealing):
    """Half a cosine from the peak to ``final``, which is reached one step after the last and kept from there."""

    def __init__(self, *, clock: Clock, lr: float, final: Fraction = 0.0, warmup: DurationOrZero = 0, warmup_from: Fraction = 0.1) -> None:
        super().__init__(cosine, clock=clock, lr=lr, final=final, warmup=warmup, warmup_from=warmup_from)
