"""Objectives: what training is for, and what it is judged by.

An objective turns labels into targets, ``targets(labels (B,)) -> (B, K)``, and model, inputs and targets into the mean loss and the
batch's statistics, ``objective(model, inputs, targets) -> (scalar, {"loss_sum", "correct", "count"})``. Its ``monitor`` names the
validation metric that chooses the best model. The run gives the facts ``loss`` (a part of ``cnntrain/loss``) and ``num_classes``.
Statistics are tensors on the device: nothing here waits for an accelerator.
"""
