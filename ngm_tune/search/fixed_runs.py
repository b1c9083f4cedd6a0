"""Runs on the test data without a search: fixed hyper-parameters, confirmations and transfers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ngm_tune.methods import Method, get_method
from ngm_tune.results.ids import RunId, TrialId
from ngm_tune.results.outcome import Outcome, Values
from ngm_tune.results.schema import Status
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.run_spec import Configuration, Phase, RunSpec
from ngm_tune.study.study import Study


class FixedRuns:
    """The runs of fixed configurations of one method on one benchmark.

    A run trains a configuration with all its seeds. If an earlier run trained it with fewer, each
    further seed has a run of its own.

    Args:
        benchmark: Name of the benchmark.
        method: The method.
        repetition: Repetition to which the runs belong, from 0.
        seeds: Seeds of each configuration.
        find_configurations: Returns the configurations to run; None while they are unknown.
        expected: Number of configurations to report while they are unknown.
        finished: Outcomes of ended runs by run id.
        phase: Phase of the runs.
    """

    def __init__(
        self,
        benchmark: str,
        method: Method,
        repetition: int,
        *,
        seeds: Sequence[int],
        find_configurations: Callable[[], list[Configuration] | None],
        expected: int,
        finished: Mapping[str, Outcome],
        phase: Phase = "confirm",
    ) -> None:
        self.phase: Phase = phase
        self.benchmark = benchmark
        self.method = method
        self.repetition = repetition
        self._seeds = tuple(seeds)
        self._find_configurations = find_configurations
        self._cached_runs: dict[str, RunSpec] | None = None
        self._expected = expected
        self._finished = {run_id: outcome.finite() for run_id, outcome in finished.items()}
        self._running: set[str] = set()

    @property
    def total(self) -> int:
        """Number of runs; an estimate while the configurations are unknown."""
        runs = self._runs
        return self._expected if runs is None else len(runs)

    @property
    def remaining_seed_runs(self) -> int:
        """Number of seeds, over all runs that have not ended."""
        runs = self._runs
        if runs is None:
            return self._expected * len(self._seeds)
        return sum(len(run.seeds) for name, run in runs.items() if name not in self._finished)

    @property
    def started(self) -> int:
        """Number of runs that are running or have ended."""
        return len(self.outcomes) + len(self._running)

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return self._runs is not None and len(self.outcomes) == self.total

    @property
    def outcomes(self) -> list[Outcome]:
        """Outcomes of the ended runs."""
        return [self._finished[run_id] for run_id in self._runs or () if run_id in self._finished]

    @property
    def values(self) -> list[Values]:
        """Objectives of the completed runs."""
        completed = [o for o in self.outcomes if o.status == Status.COMPLETED]
        return [o.values for o in completed if o.values is not None]

    def ask(self) -> RunSpec | None:
        """Start the next run; None if the configurations are unknown or all runs are started."""
        for run_id, run in (self._runs or {}).items():
            if run_id not in self._finished and run_id not in self._running:
                self._running.add(run_id)
                return run
        return None

    def finish(self, run_id: str, outcome: Outcome) -> None:
        """Record the outcome of a run."""
        self._running.discard(run_id)
        self._finished[run_id] = outcome.finite()

    def reopen(self, run_id: str) -> None:
        """Make an interrupted run available to :meth:`ask` again."""
        self._running.discard(run_id)

    def close(self) -> None:
        """Do nothing, since Optuna has no record of these runs."""

    @property
    def _runs(self) -> dict[str, RunSpec] | None:
        """All runs by id; None while the configurations are unknown."""
        if self._cached_runs is None:
            configurations = self._find_configurations()
            if configurations is not None:
                self._cached_runs = {
                    run.run_id: run for each in configurations for run in self._runs_of(each)
                }
        return self._cached_runs

    def _runs_of(self, configuration: Configuration) -> Iterator[RunSpec]:
        """Yield the run of the first seeds of a configuration, then those of single seeds."""
        trial = TrialId.parse(configuration.trial_id)
        single = {seed: str(RunId(trial, seed)) for seed in self._seeds}
        if str(trial) in self._finished:
            count = self._finished[str(trial)].seeds
        else:
            ends = (n for n, seed in enumerate(self._seeds) if single[seed] in self._finished)
            count = next(ends, len(self._seeds))
        runs = {str(trial): self._seeds[:count]} if count else {}
        runs |= {single[seed]: (seed,) for seed in self._seeds[count:]}
        for run_id, seeds in runs.items():
            yield RunSpec(
                benchmark=self.benchmark,
                method=self.method.name,
                repetition=self.repetition,
                phase=self.phase,
                run_id=run_id,
                seeds=seeds,
                **configuration._asdict(),
            )


RunSource = MethodSearch | FixedRuns
"""A source of the runs of one method on one benchmark."""


def create_fixed_run(
    study: Study, benchmark: str, method: str, repetition: int, finished: Mapping[str, Outcome]
) -> FixedRuns:
    """Create the run of a method with its hyper-parameters in the ``settings`` of the study."""
    assert study.settings is not None
    trial_id = str(TrialId(benchmark, method, 0, repetition=repetition))
    configuration = Configuration(trial_id, dict(study.settings[method]), {})
    return FixedRuns(
        benchmark,
        get_method(method),
        repetition,
        seeds=study.run_seeds.of_search(repetition),
        find_configurations=lambda: [configuration],
        expected=1,
        finished=finished,
    )


def create_confirmation(
    study: Study, search: MethodSearch, finished: Mapping[str, Outcome]
) -> FixedRuns:
    """Create the runs that confirm a search, with seeds that no search uses.

    They confirm its best configurations and the references of the study.
    """
    return _create_runs_of_selected(
        study, search, finished, search.benchmark, TrialId.confirmation, "confirm"
    )


def create_transfer(
    study: Study, search: MethodSearch, benchmark: str, finished: Mapping[str, Outcome]
) -> FixedRuns:
    """Create the runs of the configurations that a search selected on another benchmark.

    They have the seeds and the arrangement of the confirmations on that benchmark in the same
    repetition. Hyper-parameters that belong to a benchmark are those of that benchmark.

    Args:
        study: The study.
        search: The search.
        benchmark: The benchmark on which to run, another one than that of the search.
        finished: Outcomes of ended runs by run id.
    """
    return _create_runs_of_selected(
        study, search, finished, benchmark, lambda trial: trial.transfer(benchmark), "transfer"
    )


def _create_runs_of_selected(
    study: Study,
    search: MethodSearch,
    finished: Mapping[str, Outcome],
    benchmark: str,
    name: Callable[[TrialId], TrialId],
    phase: Phase,
) -> FixedRuns:
    """Create the runs of the configurations that a search selects, with fresh seeds.

    Args:
        study: The study.
        search: The search.
        finished: Outcomes of ended runs by run id.
        benchmark: The benchmark on which to run.
        name: Returns the id of the trial to run for a trial of the search.
        phase: Phase of the runs.
    """
    is_confirmation = phase == "confirm"
    references = set(search.references.values()) if is_confirmation else ()

    def find_selected() -> list[Configuration] | None:
        selected = search.select_to_confirm(with_references=is_confirmation)
        if selected is None:
            return None
        return [c._replace(trial_id=str(name(TrialId.parse(c.trial_id)))) for c in selected]

    return FixedRuns(
        benchmark,
        search.method,
        search.repetition,
        seeds=study.run_seeds.of_confirmation(search.repetition),
        find_configurations=find_selected,
        expected=study.confirm.max_configurations + len(references),
        finished=finished,
        phase=phase,
    )
