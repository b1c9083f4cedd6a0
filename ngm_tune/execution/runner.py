"""Execute the remaining runs of a study on any executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import pyarrow as pa

from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.execution.split_cache import Arrays
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_config import device_of
from ngm_tune.results.directory import CHECKPOINTS, Results
from ngm_tune.results.schema import COSTS_SCHEMA
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.schedule import Schedule
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.manifest import record_data_checksum
from ngm_tune.workspace.remaining import is_complete, needs_costs, working_methods

Data = Mapping[str, Arrays]
"""The data of each benchmark with remaining runs, by name."""


class Executor(Protocol):
    """Trains the runs of a study."""

    def run_trials(
        self,
        plan: StudyPlan,
        location: str,
        schedule: Schedule,
        data: Data,
        stopper: StudyStopper,
        time_budget: timedelta | None,
    ) -> bool:
        """Train until the schedule is complete, the time is up, or the study must stop.

        Args:
            plan: The plan of the study.
            location: Path or URI of the results directory, the same for every worker.
            schedule: Decides which run comes next.
            data: Training and evaluation examples.
            stopper: Receives every report, and decides whether the study must stop.
            time_budget: Time after which runs are interrupted.

        Returns:
            Whether the time budget ended the training.
        """

    def call(self, study: Study, function: Callable[[], list[dict[str, Any]]]) -> Any:
        """Call a function with the resources of one trial and return its result."""


def run(
    plan: StudyPlan,
    location: str,
    sources: Sequence[RunSource],
    executor: Executor,
    stopper: StudyStopper,
    *,
    time_budget: timedelta | None = None,
    notice: Callable[[str], None] = print,
) -> bool:
    """Execute the remaining runs of a study.

    SIGINT stops gracefully: the results of ended trials remain, and the study can be resumed.

    Args:
        plan: The plan of the study.
        location: Path or URI of the results directory, the same for every worker.
        sources: Searches and fixed runs of the study
            (:func:`ngm_tune.workspace.resume.open_study`).
        executor: Trains the runs.
        stopper: Stops the study; it has the reason afterwards.
        time_budget: Time after which runs are interrupted as by SIGINT.
        notice: Called with each message for the user.

    Returns:
        Whether the time budget ended the training.
    """
    study, timed_out = plan.study, False
    # re-running failed trials can reopen a finished search
    record_exhausted_searches(location, sources)
    if not is_complete(sources):
        data = _load_data(plan, location, sources, notice)
        timed_out = executor.run_trials(
            plan, location, Schedule(sources), data, stopper, time_budget
        )
    if is_complete(sources) and needs_costs(study, location, sources):
        _measure_costs(study, location, sources, executor)
    record_exhausted_searches(location, sources)
    return timed_out


def record_exhausted_searches(location: str, sources: Sequence[RunSource]) -> None:
    """Write to ``environment.json`` which searches tried their whole space, in how many runs."""
    exhausted: dict[str, dict[str, int]] = {}
    for source in sources:
        if isinstance(source, MethodSearch) and source.exhausted:
            exhausted.setdefault(source.benchmark, {})[source.method.name] = source.total
    results = Results(location)
    environment = results.read_environment()
    if environment.get("exhausted", {}) != exhausted:
        results.write_environment(environment | {"exhausted": exhausted})


def _load_data(
    plan: StudyPlan, location: str, sources: Sequence[RunSource], notice: Callable[[str], None]
) -> Data:
    """Load the data of the benchmarks with remaining runs, and record its checksums."""
    data: dict[str, Arrays] = {}
    for benchmark in plan.outlines:
        of_benchmark = [source for source in sources if source.benchmark == benchmark]
        if not is_complete(of_benchmark):
            has_runs = any(source.outcomes for source in of_benchmark)
            data[benchmark] = _load_benchmark(plan, Results(location), benchmark, has_runs, notice)
    return data


def _load_benchmark(
    plan: StudyPlan,
    results: Results,
    benchmark: str,
    has_runs: bool,
    notice: Callable[[str], None],
) -> Arrays:
    loaded = plan.benchmark(benchmark).load()
    has_runs = has_runs or any(
        name.startswith(f"{benchmark}.") for name in results.list_files(CHECKPOINTS)
    )
    if record_data_checksum(results, benchmark, loaded.checksum(), has_runs=has_runs):
        notice(
            f"{benchmark}: not all runs use the same data, because its files, their order or the "
            "code that prepares it changed; environment.json has the checksums"
        )
    pool = DataPool.of(loaded, permutes_pixels=plan.outlines[benchmark].permutes_pixels)
    return pool.arrays()


def _measure_costs(
    study: Study, location: str, sources: Sequence[RunSource], executor: Executor
) -> None:
    """Measure the costs of training steps with the resources of one trial."""
    import torch

    from ngm_tune.training import step_cost

    methods, networks = working_methods(study, sources), step_cost.NETWORKS
    threads, device = study.resources.cpu, device_of(study)

    def measure() -> list[dict[str, Any]]:
        torch.set_num_threads(threads)
        costs = step_cost.measure(methods, networks, device)
        return [row._asdict() for row in costs]

    rows = pa.Table.from_pylist(executor.call(study, measure), COSTS_SCHEMA)
    Results(location).write("costs", study.name, rows)
