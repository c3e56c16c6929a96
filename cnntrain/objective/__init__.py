"""Objectives: what training is for, and what it is judged by.

Contract: a class, built from its own config and these facts of the run, as far as its signature names them: ``loss`` (a part of
``cnntrain/loss``), ``num_classes``, ``mean`` and ``std`` (of the pixels, per channel).

- ``outputs``: what it expects of a model, ``logits`` (B,K) or ``images`` (B,C,H,W); checked before the first epoch.
- ``targets(labels (B,)) -> (B,K)``: class probabilities.
- ``objective(model, inputs, targets) -> (scalar, statistics)``: the mean loss, and sums over the batch by name, among them ``loss_sum``
  and ``count``. A model's ``penalty()``, where it has one, is added to that loss, which training alone asks for, and to no statistic.
- ``means``: the figures of training, each with the name of the statistic whose mean over the samples it is; the loss is the first.
- ``judge(outputs, inputs, labels, seen=n)``: what is kept of an evaluation's batch, before which there were n samples; a tensor or a
  tuple of tensors. Outputs are float32, of the main head, and the mean over the views that are judged.
- ``evaluation(judged)``: of all batches, in their order, an object with ``len``, ``metrics`` (by name; ``loss`` is among them),
  ``interval`` (of 95 %, of the first figure; None where it has none), ``describe(classes)`` (all that there is to say, as plain values)
  and ``show(board, part, classes, step)`` (what TensorBoard is to show of it).
- ``monitor``: the metric that chooses the best model; larger is better, but for ``loss``.

Statistics and what is judged stay on the device: nothing here waits for an accelerator but ``evaluation``.
"""
