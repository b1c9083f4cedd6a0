"""The configurations of one search, each suggested once and then cached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from ngm_tune.metrics.constraints import is_feasible
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.aggregation import PENDING
from ngm_tune.search.optuna_journal import STATES, SearchRecord
from ngm_tune.search.run_history import RunHistory
from ngm_tune.search.sampling import with_coordinates, with_state
from ngm_tune.search.suggestions import Suggestions


class Configurations:
    """The configurations of one search by number, as Optuna trials.

    A configuration is a function of the outcomes that inform the decision about its first run. If
    the results contain other search coordinates than the suggested ones, these are used instead.

    Args:
        suggestions: Suggests new configurations.
        history: Runs of the search so far.
        record: Record of the search from before an interruption.
        finished: Outcomes of ended runs by id.
        constraints: Constraints of the study.
    """

    def __init__(
        self,
        suggestions: Suggestions,
        history: RunHistory,
        record: SearchRecord,
        finished: Mapping[str, Outcome],
        constraints: Sequence[str],
    ) -> None:
        self._suggestions = suggestions
        self._history = history
        self._record = record
        self._finished = finished
        self._constraints = constraints
        self._trials: dict[int, FrozenTrial] = {}

    def __getitem__(self, number: int) -> FrozenTrial:
        """Return a configuration of which at least one run was decided."""
        if number not in self._trials:
            first = self._history.first_run(number)
            trial = self._record[first] or self._suggestions.suggest(
                number,
                first,
                self._with_outcomes(number, self._history.count_informing_runs(first)),
                self._coordinates(number),
            )
            outcome = self._finished.get(self._history.run_ids[first])
            if outcome is not None:
                trial = with_coordinates(trial, outcome.coordinates)
            self._trials[number] = trial
        return self._trials[number]

    def are_exhausted(self) -> bool:
        """Whether the search space is finite and each of its configurations was tried."""
        count, size = self._history.configurations, self._suggestions.size
        return (
            size is not None
            and count >= size
            and self._suggestions.all_tried(self._coordinates(count))
        )

    def _coordinates(self, count: int) -> Iterator[Mapping[str, object]]:
        """Yield the coordinates of the first ``count`` configurations."""
        return (self[number].params for number in range(count))

    def _with_outcomes(self, count: int, informing: int) -> Iterator[FrozenTrial]:
        """Yield the first ``count`` configurations with the outcomes of the leading runs.

        Args:
            count: Number of configurations.
            informing: Number of leading runs whose outcomes are used.
        """
        aggregates = self._history.aggregates(informing)
        for number in range(count):
            state = aggregates.get(number, PENDING)
            violations = {
                text: min(amount, 0.0) if is_feasible(amount) else amount
                for text, amount in zip(self._constraints, state.violation, strict=False)
            }
            optuna_state = TrialState.RUNNING if state.status is None else STATES[state.status]
            yield with_state(self[number], optuna_state, state.values, violations)
