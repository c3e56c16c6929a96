"""``cnntrain``: train a network, from the data to the table at the end."""

from contextlib import closing
from functools import partial
from typing import Any, Literal

from cnntrain.config.recipe import Recipe
from cnntrain.draws import Draws
from cnntrain.engine.allocator import keeping_freed_memory
from cnntrain.engine.augmentation import Augmentation
from cnntrain.engine.clock import Clock
from cnntrain.engine.evaluation import evaluate
from cnntrain.engine.inputs import Normalise, TrainBatches
from cnntrain.engine.loop import fit
from cnntrain.engine.memory import telling_what_fits
from cnntrain.engine.precision import Precision
from cnntrain.engine.rollback import HANDLING, lowered
from cnntrain.engine.run import Run
from cnntrain.engine.signals import Signals
from cnntrain.engine.space import check_room
from cnntrain.engine.state import State
from cnntrain.engine.views import Views
from cnntrain.errors import DivergedError
from cnntrain.task.assemble import (
    build_model,
    check_parts,
    check_same_data,
    facts_of,
    goal_of,
    inputs_of,
    no_evaluation,
    operations_of,
    unfetched,
)
from cnntrain.task.lr_find import settled
from cnntrain.task.outcome import finish, introduce
from cnntrain.units import Count, Duration, Positive, Size


def train(
    *,
    model: Recipe,
    data: Recipe,
    augment: dict[str, Recipe] | None = None,
    loss: Recipe,
    optimizer: Recipe,
    schedule: Recipe,
    objective: Recipe,
    weights: Recipe,
    machine: Recipe,
    report: Recipe,
    average: Recipe,
    stopping: Recipe,
    checkpoint: Recipe,
    epochs: Duration = 40,
    batch_size: Count = 64,
    microbatch: Count | None = None,
    clip: Positive | None = None,
    nan: Literal["stop", "rollback"] = "stop",
    evaluate_every: Count = 1,
    tta: Views = "none",
    seed: Size = 0,
    run: Run,
) -> dict[str, Any]:
    """Train, evaluate the best weights on the test set once, and say what came of it.

    Returns ``value`` (the best of the monitored metric), ``metrics``, ``folder`` and ``images_per_second``.
    """
    computer = machine()
    with run, computer.session(seed), Signals(run) as signals:
        dataset = data(seed=seed)
        normalise = Normalise(dataset.mean, dataset.std, device=computer.device, memory_format=computer.memory_format)
        goal = goal_of(objective, loss, dataset, tta)
        network = computer.place(build_model(unfetched(model) if run.checkpoint else model, dataset, outputs=goal.outputs, loss=loss))
        network, groups = weights(model=network, inputs=inputs_of(dataset, normalise, seed))
        clock = Clock(num_samples=len(dataset.train), batch_size=batch_size, epochs=epochs)
        draws = Draws(seed, len(dataset.train), computer.device)
        check_parts(network, dataset, clock, microbatch)
        augmentation = Augmentation(operations_of(augment, clock, network, dataset))
        batches = TrainBatches(dataset.train.to(computer.device), clock, draws, augmentation)

        how = {"objective": goal, "normalise": normalise, "machine": computer}
        step = {"batch_size": batch_size, "microbatch": microbatch, "clip": clip, "seed": seed}
        optimizer = settled(optimizer, run, network=network, groups=groups, split=batches.split, augmentation=augmentation, **how, **step)
        plan = schedule(clock=clock, lr=optimizer.values["lr"])
        precision = Precision(optimizer(params=groups), machine=computer, clip=clip, microbatch=microbatch)
        mean, judge = average(model=network, clock=clock), stopping(larger_is_better=goal.monitor != "loss")
        state = State(model=network, optimizer=precision.optimizer, scaler=precision.scaler, average=mean, judge=judge, means=goal.means)
        if run.checkpoint:
            check_same_data(run.checkpoint, dataset)
            state.restore(run.checkpoint, clock)
            run.checkpoint.tensors.clear()  # they take as much memory as the state itself
        check_room(run, state, best=dataset.val is not None)
        saving = checkpoint(run=run, clock=clock, facts=facts_of(dataset, model, run))
        rate = lowered(plan, state)
        reporter = report(run=run, clock=clock, schedule=rate)
        diverged = HANDLING[nan](saving=saving, clock=clock, batches=batches, report=reporter, lr=optimizer.values["lr"])
        judge_on = partial(evaluate, **how, batch_size=microbatch or max(batch_size, 256), tta=tta)
        validate = partial(judge_on, split=dataset.val.to(computer.device)) if dataset.val else no_evaluation
        shape = (dataset.in_channels, dataset.image_size, dataset.image_size)
        fitting = telling_what_fits(
            network, goal, precision, normalise=normalise, shape=shape, batch_size=batch_size, command=run.resume_command
        )
        with closing(reporter), fitting:
            introduce(reporter, run, dataset, network, computer, clock, plan)
            with signals.holding(), keeping_freed_memory(), reporter.profile.watching(computer.device, clock.total - state.step) as watched:
                acts = watched(
                    train=batches, validate=validate, augmentation=augmentation, draws=draws, normalise=normalise, objective=goal,
                    schedule=rate, precision=precision, clock=clock, evaluate_every=evaluate_every,
                    report=reporter, saving=diverged.saving, signals=signals,
                )  # fmt: skip
                diverged.begin(state)
                while True:
                    try:
                        fit(state, **acts)
                        break
                    except DivergedError as error:
                        diverged.back(state, error)
            return finish(reporter, run, state, dataset, judge_on)
