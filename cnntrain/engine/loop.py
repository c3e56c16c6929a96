"""The training loop: all of it, top to bottom.

One pass of the inner loop is one optimizer step. What is off is a null object, so nothing here asks whether it is on. The only
places that wait for an accelerator are the report, the evaluation and the save.
"""

from collections.abc import Callable

from torch import nn

from cnntrain.draws import Draws
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import Evaluation
from cnntrain.engine.inputs import Normalise, TrainBatches
from cnntrain.engine.precision import Precision, set_hyperparameters
from cnntrain.engine.report import Report
from cnntrain.engine.saving import Saving
from cnntrain.engine.signals import Signals
from cnntrain.engine.state import State


def fit(
    state: State,
    *,
    train: TrainBatches,
    validate: Callable[[nn.Module], Evaluation | None],
    augmentation: Augmentation,
    draws: Draws,
    normalise: Normalise,
    objective,
    schedule,
    precision: Precision,
    clock: Clock,
    evaluate_every: int,
    report: Report,
    saving: Saving,
    signals: Signals,
) -> None:
    """Train from where ``state`` is to the end of ``clock``, or until its judge's patience runs out.

    Every act is a function of position (step, epoch, sample), so a state that was saved at any step and restored goes on to the
    same end. ``validate`` judges a model; it gives None where nothing is held out: then there is no best, only a last.

    Raises:
        DivergedError: a loss or gradient is not finite; weights and checkpoints are those before it.
        Interrupted: a signal asked to leave; the state is saved.
        CheckpointError: the storage failed three times in a row.
    """
    model, optimizer, average = state.model, state.optimizer, state.average
    while state.epoch < clock.num_epochs and not state.judge.now():
        model.train()
        for images, labels, index in report.waiting(train.epoch(state.epoch, step=state.step)):
            targets = objective.targets(labels)
            images, targets = augmentation(images, targets, draws.at(state.epoch, state.step, index))
            report.first_batch(images, state)
            values = set_hyperparameters(optimizer, schedule(state.step))
            stats = precision.backward(objective, model, normalise(images), targets)
            norm = precision.step(state.step)
            state.advance(stats)
            average.update(state.step)
            if report.due(state.step):
                state.check_loss()
                report.training(state, values, norm)
            if signals.pending or saving.due(state):
                report.warn(saving.save(state))
                signals.leave(state.step, saving.run, saved=saving.last_step)

        judged = (state.epoch + 1) % evaluate_every == 0 or state.epoch + 1 == clock.num_epochs
        evaluation = signals.unless_asked(lambda: validate(average.model)) if judged else None
        if signals.pending:  # left here, the epoch is evaluated after the resume
            report.warn(saving.save(state))
            signals.leave(state.step, saving.run, saved=saving.last_step)
        state.epoch += 1
        best = evaluation is not None and state.judged(evaluation.metrics, objective.monitor)
        report.evaluation(state, evaluation, best=best)
        if saving.due_after_evaluation(state, best=best):
            report.warn(saving.save(state, best=best))
    signals.leave(state.step, saving.run, saved=saving.last_step)
