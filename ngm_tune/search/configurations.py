"""The configurations of one search, each suggested once and then cached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from optuna.trial import FrozenTrial, TrialState

from ngm_tune.metrics.constraints import is_feasible
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.optuna_journal import STATES, SearchRecord
from ngm_tune.search.sampling import with_coordinates, with_state
from ngm_tune.search.suggestions import Suggestions
from ngm_tune.study.study import Study


class Configurations:
    """The configurations of one search by number, as Optuna trials.

    A configuration is a function of the outcomes that inform its suggestion. If the results contain
    other search coordinates than the suggested ones, these are used instead.

    Args:
        suggestions: Suggests new configurations.
        record: Record of the search from before an interruption.
        outcomes: Outcomes of ended runs by number; the search adds to them.
        study: The study.
    """

    def __init__(
        self,
        suggestions: Suggestions,
        record: SearchRecord,
        outcomes: Mapping[int, Outcome],
        study: Study,
    ) -> None:
        self._suggestions = suggestions
        self._record = record
        self._outcomes = outcomes
        self._study = study
        self._trials: dict[int, FrozenTrial] = {}

    def __getitem__(self, number: int) -> FrozenTrial:
        """Return a configuration; the trials that inform its suggestion must have ended."""
        if number not in self._trials:
            trial = self._record[number] or self._suggestions.suggest(
                number, self._earlier_trials(number)
            )
            outcome = self._outcomes.get(number)
            if outcome is not None:
                trial = with_coordinates(trial, outcome.coordinates)
            self._trials[number] = trial
        return self._trials[number]

    def _earlier_trials(self, number: int) -> Iterator[FrozenTrial]:
        """Yield the configurations before a number, with the outcomes that inform its suggestion.

        Those without such an outcome have the state RUNNING.
        """
        informing = self._study.count_informing_trials(number)
        for earlier in range(number):
            if earlier >= informing:
                yield with_state(self[earlier], TrialState.RUNNING)
                continue
            outcome = self._outcomes[earlier]
            violations = {
                text: min(amount, 0.0) if is_feasible(amount) else amount
                for text, amount in zip(self._study.constraints, outcome.violation, strict=False)
            }
            yield with_state(self[earlier], STATES[outcome.status], outcome.values, violations)
