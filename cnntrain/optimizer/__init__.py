"""Optimizers: typed factories, one file a method.

Contract: a function called with its config and one fact of the run, ``params``: a list of groups
``{"params": [Parameter, ...], "lr_scale": float}``. It returns a ``torch.optim.Optimizer`` whose groups are the given ones, each split
into decayed (two or more dimensions: filters and matrices) and not decayed parameters (norms and biases, unless ``decay_norms``),
each with its ``lr_scale``. The engine sets ``group["lr"] = lr * group["lr_scale"]`` at every step and, when the schedule gives a
momentum, ``group["momentum"]`` or the first of ``group["betas"]``. State is made of plain tensors of the parameter's shape and memory
format, and scalars, so that a checkpoint can hold it.
"""
