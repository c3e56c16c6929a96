"""Weights: what the parameters are before the first step, and which of them learn, how fast.

A YAML names a function that is given the fact ``model``, and ``inputs`` if it names it (``inputs(count)``: the first ``count`` training
pictures of an order that is a function of the seed, as the model sees them, float (n, C, H, W) on its device). It returns
``(model, groups)``: the model, and its parameter groups as a list of ``{"params": [Parameter, ...], "lr_scale": float}``. A group learns
at ``lr_scale`` times the schedule's rate; what stands in no group stays as it is.
"""
