"""Options of training and evaluation."""

from __future__ import annotations

from typing import Any

import pytest

from ngm_tune.training.options import EvaluationSchedule, StreamOptions


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch_size": 0}, "Invalid batch_size: 0"),
        ({"batch_size": 8, "strategy": "replay"}, "buffer_size is None with strategy 'replay'"),
        ({"batch_size": 8, "buffer_size": 9}, "buffer_size is 9 with strategy 'joint'"),
        ({"batch_size": 8, "strategy": "all"}, "Invalid strategy: 'all'; allowed are joint, repl"),
    ],
)
def test_impossible_stream_options_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        StreamOptions(**options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"every": 0}, "Invalid every: 0"),
        ({"dense": -1}, "Invalid dense: -1"),
        ({"tasks": "first"}, "Invalid tasks: 'first'; allowed are seen, first-and-previous"),
    ],
)
def test_impossible_schedules_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        EvaluationSchedule(**options)


def test_a_schedule_evaluates_periodically_densely_and_at_task_ends() -> None:
    schedule = EvaluationSchedule(every=4, dense=2, tasks="first-and-previous")
    due = [list(schedule.tasks_at(3, step, 10)) for step in range(10)]
    both = [0, 2]
    assert due == [both, both, [], both, [], [], [], both, [], [0, 1, 2, 3]]
