"""Runs on the test data without a search: fixed hyper-parameters and confirmations of a front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ngm_tune.methods import get_method
from ngm_tune.results.ids import TrialId
from ngm_tune.results.outcome import Outcome, Values
from ngm_tune.results.schema import Status
from ngm_tune.search.benchmark_search import BenchmarkSearch
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.run_spec import Configuration, Phase, RunSpec
from ngm_tune.study.study import Study


class FixedRuns:
    """The runs of fixed configurations of one method on one benchmark, one run each.

    Args:
        benchmark: Name of the benchmark.
        method: Name of the method.
        seeds: Seeds of each run.
        find_configurations: Returns the configurations to run; None while they are unknown.
        expected: Number of configurations to report while they are unknown.
        finished: Outcomes of ended runs by run id.
    """

    phase: Phase = "confirm"

    def __init__(
        self,
        benchmark: str,
        method: str,
        *,
        seeds: Sequence[int],
        find_configurations: Callable[[], list[Configuration] | None],
        expected: int,
        finished: Mapping[str, Outcome],
    ) -> None:
        self.benchmark = benchmark
        self.method = get_method(method)
        self._seeds = tuple(seeds)
        self._find_configurations = find_configurations
        self._cached_configurations: list[Configuration] | None = None
        self._expected = expected
        self._finished = {run_id: outcome.finite() for run_id, outcome in finished.items()}
        self._running: set[str] = set()

    @property
    def total(self) -> int:
        """Number of runs; an estimate while the configurations are unknown."""
        configurations = self._configurations
        return self._expected if configurations is None else len(configurations)

    @property
    def seeds_per_run(self) -> int:
        """Number of seeds that a run trains."""
        return len(self._seeds)

    @property
    def started(self) -> int:
        """Number of runs that are running or have ended."""
        return len(self.outcomes) + len(self._running)

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return self._configurations is not None and len(self.outcomes) == self.total

    @property
    def outcomes(self) -> list[Outcome]:
        """Outcomes of the ended runs."""
        configurations = self._configurations or []
        return [self._finished[c.trial_id] for c in configurations if c.trial_id in self._finished]

    @property
    def values(self) -> list[Values]:
        """Objectives of the completed runs."""
        completed = [o for o in self.outcomes if o.status == Status.COMPLETED]
        return [o.values for o in completed if o.values is not None]

    def ask(self) -> RunSpec | None:
        """Start the next run; None if the configurations are unknown or all runs are started."""
        for configuration in self._configurations or []:
            run_id = configuration.trial_id
            if run_id not in self._finished and run_id not in self._running:
                self._running.add(run_id)
                return RunSpec(
                    benchmark=self.benchmark,
                    method=self.method.name,
                    phase=self.phase,
                    run_id=run_id,
                    seeds=self._seeds,
                    **configuration._asdict(),
                )
        return None

    def finish(self, run_id: str, outcome: Outcome) -> None:
        """Record the outcome of a run."""
        self._running.discard(run_id)
        self._finished[run_id] = outcome.finite()

    def reopen(self, run_id: str) -> None:
        """Make an interrupted run available to :meth:`ask` again."""
        self._running.discard(run_id)

    def should_prune(self, run_id: str, interim: Sequence[Values]) -> bool:
        """Return False, since these runs are never pruned."""
        return False

    def close(self) -> None:
        """Do nothing, since Optuna has no record of these runs."""

    @property
    def _configurations(self) -> list[Configuration] | None:
        if self._cached_configurations is None:
            self._cached_configurations = self._find_configurations()
        return self._cached_configurations


RunSource = MethodSearch | FixedRuns
"""A source of the runs of one method on one benchmark."""


def create_fixed_run(
    study: Study, benchmark: str, method: str, finished: Mapping[str, Outcome]
) -> FixedRuns:
    """Create the run of a method with its hyper-parameters in the ``settings`` of the study."""
    assert study.settings is not None
    trial_id = str(TrialId(benchmark, method, 0))
    configuration = Configuration(trial_id, dict(study.settings[method]), {})
    return FixedRuns(
        benchmark,
        method,
        seeds=study.seed_list,
        find_configurations=lambda: [configuration],
        expected=1,
        finished=finished,
    )


def create_confirmation(
    study: Study, search: MethodSearch, benchmark: BenchmarkSearch, finished: Mapping[str, Outcome]
) -> FixedRuns:
    """Create the runs that confirm the front of a search, with seeds that no search uses."""

    def find_selected() -> list[Configuration] | None:
        selected = benchmark.select_to_confirm(search)
        if selected is None:
            return None
        return [
            c._replace(trial_id=str(TrialId.parse(c.trial_id).confirmation())) for c in selected
        ]

    return FixedRuns(
        search.benchmark,
        search.method.name,
        seeds=study.fresh_seeds,
        find_configurations=find_selected,
        expected=study.confirm.max_configurations,
        finished=finished,
    )
