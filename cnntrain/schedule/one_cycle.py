"""One cycle and super-convergence (Smith & Topin 2017, arXiv 1708.07120).

"Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates". The learning rate rises once to a large peak
and falls to far below where it began, while the momentum does the opposite (0.95 to 0.85 and back: Smith 2018, arXiv 1803.09820).
In the paper the lines are straight and there are three phases: up, down as fast, and a tail that falls by orders of magnitude
(``three_phase: true, shape: linear``). The default is that of fastai and torch: two phases of half a cosine each.

The paper gives no formula; the phases end where those of torch's OneCycleLR do: at step ``up * total - 1`` (the peak), with three
phases at ``2 up * total - 2`` (back at the start), and at ``total - 1`` (the final value). The rise is the warm-up.
"""

from typing import Literal

from cnntrain.errors import ConfigError
from cnntrain.schedule.ramp import Clock, cosine, linear, momentum_bounds
from cnntrain.units import Decay, Fraction


class OneCycle:
    """One rise to the peak and one fall over the whole run.

    ``up``: share of the run that rises. ``initial`` and ``final``: the first and last learning rate as fractions of the peak.
    ``momentum``: [low, high], high at both ends and low at the peak, or None to leave it alone.

    Raises:
        ConfigError: three phases that rise for more than half of the run, or momentum bounds in the wrong order.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        lr: float,
        up: Fraction = 0.3,
        initial: Fraction = 0.04,
        final: Fraction = 0.000004,
        shape: Literal["cosine", "linear"] = "cosine",
        three_phase: bool = False,
        momentum: tuple[Decay, Decay] | None = (0.85, 0.95),
    ) -> None:
        if three_phase and up > 0.5:
            raise ConfigError(f"up={up} with three phases leaves no time to come down", where="schedule.up", fix="schedule.up=0.45")
        total = max(1, clock.total)
        self._between = cosine if shape == "cosine" else linear
        low, high = momentum_bounds(momentum) or (0.0, 0.0)
        self._cycles_momentum = momentum is not None
        # Corners: (step, fraction of the peak, momentum).
        self._corners = [(0.0, initial, high), (up * total - 1, 1.0, low)]
        if three_phase:
            self._corners.append((2 * up * total - 2, initial, high))
        self._corners.append((total - 1.0, final, high))
        self._lr = lr
        self.notes = [f"the run has {total} steps, too few to rise and fall"] if total < 4 else []

    def __call__(self, step: int) -> dict[str, float]:
        """Learning rate (and momentum) of one step; the final values after the end of the run."""
        ends = self._corners[1:-1]
        phase = sum(step > end for end, _, _ in ends)  # a corner belongs to the phase that ends there
        (begin, *start), (end, *stop) = self._corners[phase], self._corners[phase + 1]
        share = 1.0 if step >= end else (step - begin) / (end - begin)
        values = {"lr": self._lr * self._between(start[0], stop[0], share)}
        if self._cycles_momentum:
            values["momentum"] = self._between(start[1], stop[1], share)
        return values
