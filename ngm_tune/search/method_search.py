"""The search of one method on one benchmark.

No decision depends on timing. Trials are numbered; trial n is suggested once trials
0 .. n - max_concurrent_trials have ended, from exactly these. So a study proposes the same
configurations on any number of machines, and with or without an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping

from optuna.storages import BaseStorage

from ngm_tune.errors import RecordError, UserError
from ngm_tune.metrics.pareto import on_front
from ngm_tune.metrics.selection import select_to_confirm
from ngm_tune.results.eligibility import is_eligible
from ngm_tune.results.ids import TrialId, search_name
from ngm_tune.results.outcome import Outcome, Values
from ngm_tune.search.configurations import Configurations
from ngm_tune.search.optuna_journal import SearchRecord
from ngm_tune.search.run_spec import Configuration, Phase, RunSpec
from ngm_tune.search.sampling import explain_invalid_coordinates
from ngm_tune.search.suggestions import Suggestions
from ngm_tune.study.plan import StudyPlan


class MethodSearch:
    """The search of one method on one benchmark.

    A run trains a configuration with all seeds of the study, so the numbers of configurations are
    also those of their runs.

    Optuna's storage is only a record. Suggestions are functions of the outcomes, so a suggestion
    that is missing in the record is made again and equals the first one.

    Args:
        plan: The plan of the study.
        benchmark: One of its benchmarks.
        method: One of its methods.
        repetition: Repetition of the search, from 0.
        storage: Optuna's storage; may contain an earlier part of this search.
        finished: Outcomes of ended runs by id. The record is brought up to date with them.

    Raises:
        RecordError: The record contradicts the study or the outcomes.
    """

    phase: Phase = "search"

    def __init__(
        self,
        plan: StudyPlan,
        benchmark: str,
        method: str,
        repetition: int,
        *,
        storage: BaseStorage,
        finished: Mapping[str, Outcome],
    ) -> None:
        self.benchmark = benchmark
        self.method = plan.methods[method]
        self.repetition = repetition
        self.references = plan.references_of(benchmark, method)
        """Number of the configuration that is each reference of the study, by name."""
        self._study = study = plan.study
        self._objectives = study.objective_metrics
        self._space = plan.spaces[method]
        self._seeds = tuple(study.run_seeds.of_search(repetition))
        name = search_name(benchmark, method, repetition, "/")
        suggestions = Suggestions(
            name,
            sampler=study.sampler,
            seed=study.seed,
            space=self._space,
            objectives=self._objectives,
            points=plan.points_of(benchmark, method),
        )
        ids = map(self._trial_id, range(study.trials))
        self._outcomes = {n: finished[i].finite() for n, i in enumerate(ids) if i in finished}
        """Outcomes of the ended runs by number."""
        self._running: set[int] = set()
        """Numbers of the runs that were started and have no outcome yet."""
        # Searches of earlier versions continued after the last configuration of a finite space.
        size = max(suggestions.size or study.trials, max(self._outcomes, default=-1) + 1)
        self.total = min(study.trials, size)
        """Number of runs that the search will have."""
        self._record = SearchRecord(name, storage, self._objectives, study.constraints)
        self._configurations = Configurations(suggestions, self._record, self._outcomes, study)
        for number in range(self.total):
            self._check_record(number)

    @property
    def exhausted(self) -> bool:
        """Whether the search ended because its space has no further configuration."""
        return self.complete and self.total < self._study.trials

    @property
    def remaining_seed_runs(self) -> int:
        """Number of seeds, over all runs that have not ended."""
        return (self.total - len(self._outcomes)) * len(self._seeds)

    @property
    def started(self) -> int:
        """Number of ended and running runs."""
        return len(self._outcomes) + len(self._running)

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return len(self._outcomes) == self.total

    @property
    def outcomes(self) -> list[Outcome]:
        """Outcomes of the ended runs."""
        return list(self._outcomes.values())

    @property
    def values(self) -> list[Values]:
        """Objectives of the configurations on the front."""
        return list(self.front().values())

    def ask(self) -> RunSpec | None:
        """Start the next run; None while it waits for outcomes, or if all runs are started."""
        started = self._outcomes.keys() | self._running
        number = next((n for n in range(self.total) if n not in started), None)
        if number is None or not self._is_informed(number):
            return None
        self._write_record(number)
        self._running.add(number)
        return RunSpec(
            benchmark=self.benchmark,
            method=self.method.name,
            repetition=self.repetition,
            phase=self.phase,
            run_id=self._trial_id(number),
            seeds=self._seeds,
            **self._configuration(number)._asdict(),
        )

    def finish(self, run_id: str, outcome: Outcome) -> None:
        """Record the outcome of a run; a run with non-finite objectives counts as failed."""
        number = TrialId.parse(run_id).number
        self._running.discard(number)
        self._outcomes[number] = outcome.finite()
        self._write_record(number)

    def reopen(self, run_id: str) -> None:
        """Make an interrupted run available to :meth:`ask` again."""
        self._running.discard(TrialId.parse(run_id).number)

    def close(self) -> None:
        """Bring the record up to date, so that it contains no running run.

        It contains every outcome but those of runs before which a run is repeated, because the
        outcome of that run informs them.
        """
        for number in filter(self._is_informed, self._outcomes):
            self._write_record(number)
        self._record.close()
        self._running.clear()

    def front(self) -> dict[int, Values]:
        """Return the configurations on the front by number, with their objectives."""
        candidates = self._candidates()
        mask = on_front(list(candidates.values()), self._objectives)
        return {c: values for (c, values), on in zip(candidates.items(), mask, strict=True) if on}

    def select_to_confirm(self, *, with_references: bool = True) -> list[Configuration] | None:
        """Return the configurations to confirm; None until the search is complete.

        Args:
            with_references: Whether the references that are not among the best configurations
                follow these.
        """
        if not self.complete:
            return None
        candidates = self._candidates()
        indices = select_to_confirm(
            list(candidates.values()),
            self._objectives,
            self._study.reference_point,
            self._study.confirm.max_configurations,
        )
        numbers = [list(candidates)[i] for i in indices]
        if with_references:
            numbers += [c for c in self.references.values() if c < self.total]
        return [self._configuration(c) for c in dict.fromkeys(numbers)]

    def _is_informed(self, number: int) -> bool:
        """Whether the trials that inform the suggestion of a trial have ended."""
        informing = self._study.count_informing_trials(number)
        return all(n in self._outcomes for n in range(informing))

    def _candidates(self) -> dict[int, Values]:
        """Return the feasible configurations that completed, by number."""
        return {
            number: outcome.values
            for number, outcome in sorted(self._outcomes.items())
            if outcome.values is not None
            and is_eligible(outcome.status, outcome.values, outcome.violation, has_every_seed=True)
        }

    def _configuration(self, number: int) -> Configuration:
        coordinates = dict(self._configurations[number].params)
        try:
            hyperparameters = self.method.settings_at(coordinates)
        except Exception as error:  # anything that a user's configure raises
            raise UserError(
                f"{self.method.name}: configure fails for {coordinates}: {error!r}"
            ) from error
        return Configuration(self._trial_id(number), hyperparameters, coordinates)

    def _trial_id(self, number: int) -> str:
        return str(TrialId(self.benchmark, self.method.name, number, repetition=self.repetition))

    def _check_record(self, number: int) -> None:
        """Raise RecordError if the record of a run contradicts the study or its outcome."""
        recorded = self._record[number]
        if recorded is None:
            return
        is_possible = (
            recorded.distributions == self._space
            and recorded.params.keys() == self._space.keys()
            and explain_invalid_coordinates(self._space, recorded.params) is None
            and recorded.user_attrs.get("seeds", [*self._seeds]) == [*self._seeds]
        )
        if not is_possible:
            raise RecordError(
                f"the record of run {number} of {self._record.name} is impossible in this study"
            )
        if number in self._outcomes:
            self._record.check_outcome(number, self._outcomes[number])

    def _write_record(self, number: int) -> None:
        attributes = {
            "trial_id": self._trial_id(number),
            "method": self.method.name,
            "seeds": list(self._seeds),
            "status": "running",
        }
        self._record.write(
            number, self._configurations[number], attributes, self._outcomes.get(number)
        )
