"""The searches of all methods on one benchmark, in one repetition. They can end together."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.storages import BaseStorage

from ngm_tune.results.outcome import Outcome
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.plateau import has_levelled_off
from ngm_tune.study.plan import StudyPlan


class BenchmarkSearch:
    """The searches of all methods of a study on one benchmark, in one repetition.

    If the study has a ``plateau``, all searches end after the same number of runs.

    Args:
        plan: The plan of the study.
        benchmark: One of its benchmarks.
        repetition: Repetition of the searches, from 0.
        storage: Optuna's storage; may contain an earlier part of the searches.
        finished: Outcomes of ended runs by run id.
    """

    def __init__(
        self,
        plan: StudyPlan,
        benchmark: str,
        repetition: int,
        *,
        storage: BaseStorage,
        finished: Mapping[str, Outcome],
    ) -> None:
        self._study = plan.study
        self.searches = [
            MethodSearch(
                plan,
                benchmark,
                method,
                repetition,
                storage=storage,
                finished=finished,
                advance=self.advance,
            )
            for method in plan.methods
        ]
        self.advance()

    def advance(self) -> None:
        """Make every decision that is possible, in turns over the methods."""
        while sum(self._decide(search) for search in self.searches):
            pass

    def _decide(self, search: MethodSearch) -> bool:
        """Let a search decide about its next run, or end it; return whether it decided."""
        if not search.may_decide():
            return False
        if self._study.plateau is not None:
            leading = search.count_informing_runs(search.decided)
            if not all(other.has_ended(leading) for other in self.searches):
                return False
            if self._is_on_plateau(search.decided, leading):
                search.end_on_plateau()
                return False
        return search.decide()

    def _is_on_plateau(self, number: int, leading: int) -> bool:
        """Whether all searches end before run ``number``, since none of them improves any longer.

        Searches do not end before a recorded run. The fronts can have changed since that run was
        decided, if failed runs were re-run.

        Args:
            number: Number of the next run.
            leading: Number of leading runs whose outcomes inform the decision.
        """
        rule = self._study.plateau
        assert rule is not None
        window = rule.patience * self._study.runs_per_trial
        return (
            all(has_levelled_off(s.volume, leading, window, rule) for s in self.searches)
            and any(search.volume(leading) > 0.0 for search in self.searches)
            and not any(search.is_recorded(number) for search in self.searches)
        )
