"""Schedules: what the learning rate (and where a paper has it, the momentum) is at every optimizer step.

Contract: a class called with its config and two facts of the run, ``clock`` (``clock.steps(duration) -> int``, ``clock.total``) and
``lr`` (the peak, ``optimizer.lr``). ``schedule(step) -> {"lr": float, "momentum"?: float}`` is a pure function of the step: it is
given 0 … total-1, may be asked in any order, holds no state, and answers beyond the end of the run too. Its own learning rates
are fractions of the peak, so ``optimizer.lr`` always rules. ``notes: list[str]`` is what the user should be told before the run
(it ends off a cycle's end, a milestone is never reached, what an "auto" chose); it is empty when there is nothing to say.
"""
