"""What all tests share: one thread a process, and the count of injected faults at the end."""

import os
from collections import Counter

# Here and in what the tests start: tiny tensors gain nothing from more threads, and two busy processes lose much.
os.environ["OMP_NUM_THREADS"] = "1"
SEED = os.environ.setdefault("CNNTRAIN_TEST_SEED", "0")


def pytest_report_header(config):
    """The seed of the random tests."""
    return f"random tests: CNNTRAIN_TEST_SEED={SEED}"


def pytest_terminal_summary(terminalreporter):
    """How many distinct faults were injected and came out right, by the plan's letters."""
    passed = terminalreporter.stats.get("passed", [])
    noted = {what for report in passed for name, what in report.user_properties if name == "fault"}
    letters = Counter(what[0] for what in noted)
    if noted:
        counts = " · ".join(f"{letter} {letters[letter]:,}" for letter in sorted(letters))
        terminalreporter.write_line(f"faults injected: {len(noted):,} ({counts}), CNNTRAIN_TEST_SEED={SEED}")
