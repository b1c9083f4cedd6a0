"""Task data of a worker: fetched once, arranged for each repetition, shared by trials."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from ngm_tune.benchmarks import Benchmark, TaskSplit
from ngm_tune.benchmarks.arrangement import Arrangement
from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.search.run_spec import Phase
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.options import Precision
from ngm_tune.training.splits import splits_for

Arrays = Mapping[str, Any]
"""The data of a benchmark, as :meth:`~ngm_tune.benchmarks.pool.DataPool.arrays`."""
FetchData = Callable[[str], Arrays]
"""Return the data of a benchmark: from Ray's object store, or from memory."""

_MAX_ARRANGED = 4
"""Number of arrangements whose prepared evaluation examples a worker keeps in memory."""


class SplitCache:
    """Training data and evaluators of a worker.

    Args:
        fetch: Returns the data of a benchmark.
        device: Device on which trials train.
    """

    def __init__(self, fetch: FetchData, device: str) -> None:
        self._fetch = fetch
        self._device = device
        self._pools: dict[str, DataPool] = {}
        self._arranged: OrderedDict[tuple[Any, ...], tuple[TaskSplit, Evaluator]] = OrderedDict()

    def get(
        self,
        benchmark: Benchmark,
        phase: Phase,
        arrangement: Arrangement,
        eval_examples: int | None,
        precision: Precision,
    ) -> tuple[TaskSplit, Evaluator]:
        """Return training examples, and an evaluator of prepared evaluation examples.

        Args:
            benchmark: The benchmark.
            phase: The phase, which decides what is trained and evaluated on.
            arrangement: Class order and validation split.
            eval_examples: Maximal number of evaluated examples of each task; None for all.
            precision: Precision of the evaluation.
        """
        key = (benchmark.name, phase == "search", arrangement, eval_examples, precision)
        if key not in self._arranged:
            if benchmark.name not in self._pools:
                arrays = self._fetch(benchmark.name)
                self._pools[benchmark.name] = DataPool.from_arrays(arrays, self._device)
            pool = self._pools[benchmark.name]
            train, evaluation = splits_for(pool, phase, arrangement, eval_examples)
            evaluator = Evaluator(evaluation.prepared(benchmark.prepare), precision, self._device)
            self._arranged[key] = train, evaluator
        self._arranged.move_to_end(key)
        while len(self._arranged) > _MAX_ARRANGED:
            self._arranged.popitem(last=False)
        return self._arranged[key]
