"""The search of one method on one benchmark.

No decision depends on timing. Runs are numbered; run n is decided once runs
0 .. n - max_concurrent_trials have ended, from exactly these. So a study proposes the same
configurations on any number of machines, and with or without an interruption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from optuna.storages import BaseStorage

from ngm_tune.errors import RecordError, UserError
from ngm_tune.metrics.constraints import Constraint
from ngm_tune.metrics.pareto import hypervolume, on_front
from ngm_tune.metrics.selection import select_to_confirm
from ngm_tune.results.ids import RunId, TrialId, search_name
from ngm_tune.results.outcome import Outcome, Values
from ngm_tune.results.schema import Status
from ngm_tune.search.configurations import Configurations
from ngm_tune.search.early_stopping import is_dominated
from ngm_tune.search.optuna_journal import SearchRecord
from ngm_tune.search.racing import select_for_next_seed
from ngm_tune.search.run_history import Decision, RunHistory
from ngm_tune.search.run_spec import Configuration, Phase, RunSpec
from ngm_tune.search.sampling import explain_invalid_coordinates
from ngm_tune.search.suggestions import Suggestions
from ngm_tune.study.plan import StudyPlan


class MethodSearch:
    """The search of one method on one benchmark.

    Without racing, a run trains a configuration with all seeds of the study. With racing, a run
    trains a single seed: a further seed of a configuration that could be on the front, or else the
    first seed of a new configuration. The number of runs is the same for every method.

    Optuna's storage is only a record. Suggestions are functions of the outcomes, so a suggestion
    that is missing in the record is made again and equals the first one.

    Args:
        plan: The plan of the study.
        benchmark: One of its benchmarks.
        method: One of its methods.
        repetition: Repetition of the search, from 0.
        storage: Optuna's storage; may contain an earlier part of this search.
        finished: Outcomes of ended runs by id. The record is brought up to date with them.
        advance: Makes every decision that is possible in the searches of the benchmark
            (:meth:`~ngm_tune.search.benchmark_search.BenchmarkSearch.advance`).
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
        advance: Callable[[], None],
    ) -> None:
        self.benchmark = benchmark
        self.method = plan.methods[method]
        self.repetition = repetition
        self.on_plateau = False
        """Whether a plateau ended the search."""
        self.references = plan.references_of(benchmark, method)
        """Number of the configuration that is each reference of the study, by name."""
        self._advance = advance
        self._study = study = plan.study
        self._objectives = study.objective_metrics
        self._constraints = [Constraint.parse(text) for text in study.constraints]
        self._space = plan.spaces[method]
        name = search_name(benchmark, method, repetition, "/")
        self._seeds = tuple(study.run_seeds.of_search(repetition))
        self._suggestions = Suggestions(
            name,
            sampler=study.sampler,
            seed=study.seed,
            space=self._space,
            objectives=self._objectives,
            points=plan.points_of(benchmark, method),
        )
        self._finished = {run: outcome.finite() for run, outcome in finished.items()}
        self._ends_at: int | None = None
        self._record = SearchRecord(name, storage, self._objectives, study.constraints)
        self._history = RunHistory(study.max_concurrent_trials)
        self._configurations = Configurations(
            self._suggestions, self._history, self._record, self._finished, study.constraints
        )

    @property
    def decided(self) -> int:
        """Number of runs decided so far, which is the number of the next one."""
        return len(self._history)

    @property
    def total(self) -> int:
        """Number of runs that the search will have, unless it ends early."""
        if self._ends_at is not None:
            return self._ends_at
        limit, size = self._study.runs_per_search, self._suggestions.size
        if size is not None:
            limit = min(limit, size * self._study.runs_per_trial)
        return max(limit, self.decided)

    @property
    def exhausted(self) -> bool:
        """Whether the search ended because its space has no further configuration."""
        return self.complete and not self.on_plateau and self.total < self._study.runs_per_search

    @property
    def remaining_seed_runs(self) -> int:
        """Number of seeds, over all runs that have not ended."""
        seeds_per_run = 1 if self._study.racing else len(self._seeds)
        return (self.total - len(self._history.outcomes)) * seeds_per_run

    @property
    def started(self) -> int:
        """Number of ended and running runs."""
        return len(self._history.outcomes) + len(self._history.running)

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return len(self._history.outcomes) == self.total

    @property
    def outcomes(self) -> list[Outcome]:
        """Outcomes of the ended runs."""
        return list(self._history.outcomes.values())

    @property
    def values(self) -> list[Values]:
        """Objectives of the configurations on the front."""
        return list(self.front().values())

    def ask(self) -> RunSpec | None:
        """Start the next run; None while it waits for outcomes, or if all runs are started."""
        self._advance()
        number = next(iter(self._history.open_runs), None)
        if number is None or not self.has_ended(self.count_informing_runs(number)):
            return None
        self._write_record(number)
        self._history.running.add(number)
        decision = self._history.decisions[number]
        return RunSpec(
            benchmark=self.benchmark,
            method=self.method.name,
            repetition=self.repetition,
            phase=self.phase,
            run_id=self._history.run_ids[number],
            seeds=decision.seeds,
            **self._configuration(decision.configuration)._asdict(),
        )

    def finish(self, run_id: str, outcome: Outcome) -> None:
        """Record the outcome of a run; a run with non-finite objectives counts as failed."""
        number = self._history.number(run_id)
        self._history.finish(number, outcome.finite())
        self._write_record(number)
        self._advance()

    def reopen(self, run_id: str) -> None:
        """Make an interrupted run available to :meth:`ask` again."""
        self._history.running.discard(self._history.number(run_id))

    def close(self) -> None:
        """Bring the record up to date, so that it contains every outcome and no running run."""
        for number in self._history.outcomes:
            self._write_record(number)
        self._record.close()
        self._history.running.clear()

    def should_prune(self, run_id: str, interim: Sequence[Values]) -> bool:
        """Whether a run should be stopped early.

        The run is compared with feasible runs of the same seeds, among the leading runs that inform
        the decision about it. A further seed in racing is never pruned, because it measures a
        configuration that could be on the front.

        Args:
            run_id: The run.
            interim: Its objectives after each task so far.
        """
        rule = self._study.early_stopping
        number, rung = self._history.number(run_id), len(interim) - 1
        seeds = self._history.decisions[number].seeds
        further = self._study.racing is not None and seeds != self._seeds[:1]
        if rule is None or further or len(interim) < rule.grace_tasks:
            return False
        peers = self._history.feasible_peers(seeds, rung, self.count_informing_runs(number))
        return is_dominated(tuple(interim[rung]), peers, self._objectives, rule)

    def front(self, runs: int | None = None) -> dict[int, Values]:
        """Return the configurations on the front by number, with their objectives.

        Args:
            runs: Number of leading runs to consider; None for all.
        """
        candidates = self._candidates(runs)
        mask = on_front(list(candidates.values()), self._objectives)
        return {c: values for (c, values), on in zip(candidates.items(), mask, strict=True) if on}

    def volume(self, runs: int) -> float:
        """Return the hypervolume of the front after the first ``runs`` runs."""
        front = list(self.front(runs).values())
        return hypervolume(front, self._objectives, self._study.reference_point)

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
            numbers += [c for c in self.references.values() if c < self._history.configurations]
        return [self._configuration(c) for c in dict.fromkeys(numbers)]

    def count_informing_runs(self, number: int) -> int:
        """Return the number of leading runs whose outcomes inform the decision about a run."""
        return self._history.count_informing_runs(number)

    def has_ended(self, runs: int) -> bool:
        """Whether the first ``runs`` runs have ended."""
        return self._history.has_ended(min(runs, self.total))

    def may_decide(self) -> bool:
        """Whether a run is left to decide about, and the outcomes that inform it are known."""
        limit = self._study.runs_per_search if self._ends_at is None else self._ends_at
        return self.decided < limit and self.has_ended(self.count_informing_runs(self.decided))

    def is_recorded(self, number: int) -> bool:
        """Whether a run has a record from before an interruption."""
        return self._record[number] is not None

    def end_on_plateau(self) -> None:
        """End the search before the next run."""
        self._ends_at, self.on_plateau = self.decided, True

    def decide(self) -> bool:
        """Decide about the next run; return False if this must wait or no run is left."""
        number = self.decided
        informing = self.count_informing_runs(number)
        decision = self._recorded_decision(number) or self._make_decision(number, informing)
        if decision is None and self.has_ended(
            number
        ):  # with later outcomes racing may find a seed
            decision = self._make_decision(number, number)
            if decision is None:
                self._ends_at = number
        if decision is None:
            return False
        run_id = self._run_id(decision)
        self._history.append(decision, run_id)
        if run_id in self._finished:
            self._history.finish(number, self._finished[run_id])
            self._record.check_outcome(number, self._finished[run_id])
        return True

    def _candidates(self, runs: int | None = None) -> dict[int, Values]:
        """Return the feasible configurations that completed with every seed, by number."""
        return {
            c: state.values
            for c, state in self._history.aggregates(runs).items()
            if state.values is not None and state.is_eligible(self._study.runs_per_trial)
        }

    def _configuration(self, number: int) -> Configuration:
        coordinates = dict(self._configurations[number].params)
        try:
            hyperparameters = self.method.settings_at(coordinates)
        except Exception as error:  # anything that a user's configure raises
            raise UserError(
                f"{self.method.name}: configure fails for {coordinates}: {error!r}"
            ) from error
        return Configuration(str(self._trial_id(number)), hyperparameters, coordinates)

    def _trial_id(self, configuration: int) -> TrialId:
        return TrialId(self.benchmark, self.method.name, configuration, repetition=self.repetition)

    def _run_id(self, decision: Decision) -> str:
        seed = decision.seeds[0] if self._study.racing else None
        return str(RunId(self._trial_id(decision.configuration), seed))

    def _recorded_decision(self, number: int) -> Decision | None:
        """Return the decision about a run that was recorded before an interruption, if any."""
        recorded, decision = self._record[number], self._record.recorded_decision(number)
        if recorded is None:
            return None
        possible = [self._new_configuration()]
        if self._study.racing:
            runs = Counter(decided.configuration for decided in self._history.decisions)
            seeds = self._seeds
            possible += [Decision(c, (seeds[n],)) for c, n in runs.items() if n < len(seeds)]
        fits = (
            recorded.distributions == self._space and recorded.params.keys() == self._space.keys()
        )
        if fits and explain_invalid_coordinates(self._space, recorded.params) is None:
            if decision is None:
                return None
            for candidate in possible:
                if decision == (candidate.configuration, list(candidate.seeds)):
                    return candidate
        raise RecordError(
            f"the record of run {number} of {self._record.name} is impossible in this study"
        )

    def _make_decision(self, number: int, informing: int) -> Decision | None:
        """Decide about a run from the leading outcomes; None if no configuration is left to try."""
        further = self._further_seed(number, informing) if self._study.racing else None
        if further is not None:
            return further
        new = self._new_configuration()
        is_finished = self._run_id(new) in self._finished
        return new if is_finished or not self._configurations.are_exhausted() else None

    def _new_configuration(self) -> Decision:
        """Return the decision for a new configuration, with all seeds or, in racing, the first."""
        first = self._seeds[:1] if self._study.racing else self._seeds
        return Decision(self._history.configurations, first)

    def _further_seed(self, number: int, informing: int) -> Decision | None:
        """Return a further seed for a configuration that could be on the front; None if none can.

        A configuration that has a seed without an informing outcome must wait.
        """
        assert self._study.racing is not None
        seeds = self._seeds
        waiting = {decision.configuration for decision in self._history.decisions[informing:]}
        run_values = {
            c: aggregate.run_values
            for c, aggregate in self._history.aggregates(informing).items()
            if aggregate.status is Status.COMPLETED
        }
        incomplete = [c for c, runs in run_values.items() if len(runs) < len(seeds)]
        best = select_for_next_seed(
            run_values,
            [c for c in incomplete if c not in waiting],
            self._objectives,
            self._study.racing.min_probability,
            self._suggestions.seed_of(number),
            self._constraints,
        )
        return None if best is None else Decision(best, (seeds[len(run_values[best])],))

    def _write_record(self, number: int) -> None:
        decision = self._history.decisions[number]
        attributes = {
            "trial_id": str(self._trial_id(decision.configuration)),
            "run_id": self._history.run_ids[number],
            "configuration": decision.configuration,
            "method": self.method.name,
            "seeds": list(decision.seeds),
            "status": "running",
        }
        self._record.write(
            number,
            self._configurations[decision.configuration],
            attributes,
            self._history.outcomes.get(number),
        )
