"""Runs without a search, on the test data: fixed hyper-parameters, and confirmations of a front."""

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
    """Configurations of one method on one benchmark that are run as they are.

    Args:
        benchmark: Name of the benchmark.
        method: Name of the method.
        seeds: Seeds of each run.
        configurations: Returns the configurations to run; None while they are not known.
        expected: Number of configurations, as far as is known before.
        finished: Outcomes of ended trials by id.
    """

    phase: Phase = "confirm"

    def __init__(
        self,
        benchmark: str,
        method: str,
        *,
        seeds: Sequence[int],
        configurations: Callable[[], list[Configuration] | None],
        expected: int,
        finished: Mapping[str, Outcome],
    ) -> None:
        self.benchmark = benchmark
        self.method = get_method(method)
        self._seeds = tuple(seeds)
        self._find = configurations
        self._cached: list[Configuration] | None = None
        self._expected = expected
        self._finished = {trial: outcome.finite() for trial, outcome in finished.items()}
        self._running: set[str] = set()

    @property
    def total(self) -> int:
        """Number of runs, as far as is known."""
        configurations = self._configurations
        return self._expected if configurations is None else len(configurations)

    @property
    def started(self) -> int:
        """Number of ended and running runs."""
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
        """Start the next run; None while no configuration is known, or if all are started."""
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
        """Offer a run again that was cut off before it ended."""
        self._running.discard(run_id)

    def should_prune(self, run_id: str, interim: Sequence[Values]) -> bool:
        """Return False: none of these runs is stopped early."""
        return False

    def close(self) -> None:
        """Do nothing; Optuna has no record of these runs."""

    @property
    def _configurations(self) -> list[Configuration] | None:
        if self._cached is None:
            self._cached = self._find()
        return self._cached


RunSource = MethodSearch | FixedRuns
"""Hands out the runs of one method on one benchmark."""


def fixed_hyperparameters(
    study: Study, benchmark: str, method: str, finished: Mapping[str, Outcome]
) -> FixedRuns:
    """Return the run of the hyper-parameters that the study's ``settings`` fix for a method."""
    assert study.settings is not None
    trial_id = str(TrialId(benchmark, method, 0))
    trial = Configuration(trial_id, dict(study.settings[method]), {})
    return FixedRuns(
        benchmark,
        method,
        seeds=study.seed_list,
        configurations=lambda: [trial],
        expected=1,
        finished=finished,
    )


def confirmation(
    study: Study, search: MethodSearch, benchmark: BenchmarkSearch, finished: Mapping[str, Outcome]
) -> FixedRuns:
    """Return the confirmation of a search's front, with seeds that no search used."""

    def selected() -> list[Configuration] | None:
        configurations = benchmark.selected(search)
        if configurations is None:
            return None
        return [
            c._replace(trial_id=str(TrialId.parse(c.trial_id).confirmation()))
            for c in configurations
        ]

    return FixedRuns(
        search.benchmark,
        search.method.name,
        seeds=study.fresh_seeds,
        configurations=selected,
        expected=study.confirm.max_configurations,
        finished=finished,
    )
