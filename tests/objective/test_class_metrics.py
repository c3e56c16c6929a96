"""Metrics against plain loops over samples, closed forms and published figures."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnntrain.objective.class_metrics import ClassEvaluation, calibration_bins, calibration_error, collect, judge, per_class, wilson


def draw(number, num_classes, seed=0):
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(number, num_classes, generator=source) * 2
    return logits, torch.randint(num_classes, (number,), generator=source)


def evaluation_of(logits, labels, batch_size):
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    parts = zip(logits.split(batch_size), labels.split(batch_size), losses.split(batch_size), strict=True)
    return ClassEvaluation(collect([judge(*part) for part in parts]), logits.shape[1])


def loop(logits, labels):
    """Every figure as one would write it without tensors."""
    number, num_classes = logits.shape
    hits = top5 = loss = 0
    confusion = [[0] * num_classes for _ in range(num_classes)]
    bins = [[0, 0.0, 0] for _ in range(15)]
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        order = sorted(range(num_classes), key=lambda k: (-row[k], k))
        total = sum(math.exp(value) for value in row)
        hits += order[0] == label
        top5 += label in order[:5]
        loss -= math.log(math.exp(row[label]) / total)
        confusion[label][order[0]] += 1
        confidence = math.exp(row[order[0]]) / total
        place = min(max(math.ceil(confidence * 15) - 1, 0), 14)
        bins[place] = [bins[place][0] + 1, bins[place][1] + confidence, bins[place][2] + (order[0] == label)]
    error = sum(abs(right - confidence) for count, confidence, right in bins if count) / number
    return {"loss": loss / number, "accuracy": hits / number, "top5": top5 / number, "calibration_error": error}, confusion


@pytest.mark.parametrize("batch_size", [1, 2, 7, 50, 64])
def test_all_figures_are_those_of_a_plain_loop(batch_size):
    logits, labels = draw(50, 8)
    expected, confusion = loop(logits, labels)
    evaluation = evaluation_of(logits, labels, batch_size)
    assert evaluation.metrics == pytest.approx(expected, abs=1e-6)
    assert evaluation.metrics["accuracy"] == expected["accuracy"]
    assert evaluation.confusion.tolist() == confusion
    assert evaluation.confusion.dtype == torch.int64
    assert len(evaluation) == 50


def test_the_batch_size_changes_no_bit():
    logits, labels = draw(50, 8)
    whole = evaluation_of(logits, labels, 50)
    for batch_size in (1, 3, 49):
        assert evaluation_of(logits, labels, batch_size).metrics == whole.metrics


def test_top5_only_above_five_classes():
    assert "top5" not in evaluation_of(*draw(4, 5), 4).metrics
    assert "top5" in evaluation_of(*draw(4, 6), 4).metrics


def test_equal_logits_are_told_apart_by_the_number_and_not_by_luck():
    logits = torch.zeros(8, 8)
    evaluation = evaluation_of(logits, torch.arange(8), 8)
    assert evaluation.metrics["accuracy"] == 1 / 8
    assert evaluation.metrics["top5"] == 5 / 8


def test_logits_that_are_nan_are_no_hits_and_show_in_the_loss():
    evaluation = evaluation_of(torch.full((3, 8), torch.nan), torch.tensor([5, 6, 7]), 2)
    assert evaluation.metrics["top5"] == 0
    assert evaluation.metrics["accuracy"] == 0
    assert math.isnan(evaluation.metrics["loss"])
    assert evaluation.confusion.sum() == 3


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (Wilson's score, no continuity correction)
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(hits, total, low, high):
    assert wilson(hits, total) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 10**6), st.data())
def test_wilson_holds_the_share_and_stays_within_0_and_1(total, data):
    hits = data.draw(st.integers(0, total))
    low, high = wilson(hits, total)
    assert 0 <= low <= hits / total <= high <= 1
    assert low < high
    mirrored = wilson(total - hits, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_per_class_figures_are_those_of_a_count_by_hand():
    confusion = torch.tensor([[6, 0, 2, 0], [3, 0, 1, 0], [1, 0, 7, 0], [0, 0, 0, 0]])  # class 1 is never predicted, class 3 does not occur
    nan = float("nan")
    expected = {
        "precision": [6 / 10, nan, 7 / 10, nan],
        "recall": [6 / 8, 0, 7 / 8, nan],
        "f1": [12 / 18, 0, 14 / 18, nan],
        "count": [8, 4, 8, 0],
    }
    figures = per_class(confusion)
    for name, values in expected.items():
        assert figures[name].tolist() == pytest.approx(values, nan_ok=True), name


def test_calibration_bins_are_closed_above():
    confidence = torch.tensor([1 / 15, 1 / 15 + 1e-9, 0.5, 1.0], dtype=torch.float64)
    table = calibration_bins(confidence, torch.tensor([True, False, True, True]))
    assert table[:, 0].nonzero().flatten().tolist() == [0, 1, 7, 14]
    assert table[14].tolist() == [1, 1, 1]


def test_calibration_error_of_known_cases():
    sure = torch.ones(10, dtype=torch.float64)
    assert calibration_error(calibration_bins(sure, torch.ones(10, dtype=torch.bool))) == 0
    assert calibration_error(calibration_bins(sure, torch.arange(10) < 7)) == pytest.approx(0.3)
    half = torch.full((10,), 0.5, dtype=torch.float64)
    assert calibration_error(calibration_bins(half, torch.arange(10) < 5)) == pytest.approx(0)


def test_the_interval_is_that_of_the_accuracy():
    evaluation = evaluation_of(*draw(50, 8), 50)
    assert evaluation.interval == wilson(round(50 * evaluation.metrics["accuracy"]), 50)
