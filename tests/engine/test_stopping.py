import math

from cnntrain.engine.stopping import stopping


def see_all(judge, values):
    return [judge.see(value, step) for step, value in enumerate(values)]


def test_the_earliest_of_equals_is_best_and_nan_never_is():
    judge = stopping(larger_is_better=True)
    assert see_all(judge, [math.nan, 0.5, 0.5, math.nan, 0.7, 0.6]) == [False, True, False, False, True, False]
    assert (judge.best, judge.best_step) == (0.7, 4)


def test_equal_accuracies_are_told_apart_by_their_loss():
    judge = stopping(larger_is_better=True)
    seen = [(0.5, 1.0, True), (0.5, 1.0, False), (0.5, 0.9, True), (0.5, math.nan, False), (0.4, 0.1, False), (0.6, 2.0, True)]
    assert [judge.see(value, step, loss=loss) for step, (value, loss, _) in enumerate(seen)] == [best for _, _, best in seen]
    assert (judge.best, judge.best_step, judge.best_loss) == (0.6, 5, 2.0)


def test_smaller_may_be_better():
    judge = stopping(larger_is_better=False)
    assert see_all(judge, [3.0, 2.0, 2.5, 1.0]) == [True, True, False, True]


def test_patience_runs_out_and_small_gains_do_not_count():
    judge = stopping(larger_is_better=True, patience=2, min_delta=0.1)
    for value, ends in [(0.5, False), (0.55, False), (0.7, False), (0.75, False), (0.79, True)]:
        judge.see(value, 0)
        assert judge.now() is ends
    assert judge.best == 0.79, "the best is the best, gain or not"
    endless = stopping(larger_is_better=True)
    see_all(endless, [0.5] * 100)
    assert not endless.now()


def test_a_restored_judge_goes_on():
    values = [0.3, 0.5, math.nan, 0.4, 0.6, 0.6, 0.1, 0.2]
    whole = stopping(larger_is_better=True, patience=3)
    expected = see_all(whole, values)
    for cut in range(len(values)):
        first, second = (stopping(larger_is_better=True, patience=3) for _ in range(2))
        seen = see_all(first, values[:cut])
        second.restore(first.state())
        assert second.state() == first.state()
        seen += [second.see(value, step) for step, value in enumerate(values[cut:], cut)]
        assert seen == expected and second.state() == whole.state() and second.now() == whole.now()
