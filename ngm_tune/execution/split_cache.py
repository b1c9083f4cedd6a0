"""Task data of a worker, which is fetched and prepared once for all its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ngm_tune.benchmarks import Benchmark, TaskSplit
from ngm_tune.search.run_spec import Phase
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.options import Precision

Arrays = Mapping[str, Any]
"""``train`` and ``evaluation`` of a phase, as :meth:`~ngm_tune.benchmarks.TaskSplit.arrays`."""
FetchSplits = Callable[[Phase, str], Arrays]
"""Return the arrays of a phase and benchmark: from Ray's object store, or from memory."""


class SplitCache:
    """Training data and evaluators by phase, benchmark and precision.

    Args:
        fetch: Returns the arrays of a phase and benchmark.
        device: Device on which trials train.
    """

    def __init__(self, fetch: FetchSplits, device: str) -> None:
        self._fetch = fetch
        self._device = device
        self._splits: dict[tuple[str, str, str], tuple[TaskSplit, Evaluator]] = {}

    def get(
        self, phase: Phase, benchmark: Benchmark, precision: Precision
    ) -> tuple[TaskSplit, Evaluator]:
        """Return training examples, and an evaluator of prepared evaluation examples."""
        key = (phase, benchmark.name, precision)
        if key not in self._splits:
            arrays = self._fetch(phase, benchmark.name)
            evaluation = TaskSplit.from_arrays(arrays["evaluation"]).to(self._device)
            self._splits[key] = (
                TaskSplit.from_arrays(arrays["train"]).to(self._device),
                Evaluator(evaluation.prepared(benchmark.prepare), precision, self._device),
            )
        return self._splits[key]
