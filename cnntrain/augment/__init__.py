"""Augmentation: batched tensor operations on the training pictures, one family a file.

An operation is a class whose instances are called with ``(images, targets, draws)`` and return ``(images, targets)``:

- ``images`` is float32 (B, C, H, W) in [0, 1], of any memory layout, and stays in [0, 1]. It is never modified in place. An
  operation with ``exact_on_bytes = True`` only moves or blanks pixels, so it gives the same picture on uint8 and runs before the
  conversion to float. One that is ``samplewise = True``, too, leaves targets alone and draws for samples only, never for the batch or by
  the step: those at the head of the list are given several batches at once.
- ``targets`` is float (B, K), a probability distribution over the classes in each row, and stays one.
- ``draws`` is a :class:`cnntrain.draws.BatchDraws`, asked with the operation's own name: what happens to a sample is a function of
  (seed, epoch, operation, sample), whatever batch it stands in. Only mixup and cutmix draw per batch (seed, step).

Parameters stand in ``conf/augment/NAME.yaml``, nested under the operation's name. The run gives one fact to those that name it:
``clock`` (``clock.steps(duration)``, ``clock.total``). An operation that changes the pictures' size has ``sizes(full)``, all that occur.
"""
