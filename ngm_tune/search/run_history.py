"""The runs of one search that were decided, and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ngm_tune.metrics.constraints import is_feasible
from ngm_tune.results.outcome import Outcome, Values
from ngm_tune.search.aggregation import Aggregate, aggregate


@dataclass(frozen=True)
class Decision:
    """The decision about a run: which configuration to train, and with which seeds."""

    configuration: int
    seeds: tuple[int, ...]


class RunHistory:
    """The decided runs of one search in order, and the outcomes of the ended runs.

    Runs and configurations are numbered from 0, in the order of the decisions about them.

    Args:
        max_concurrent_trials: Number of runs of a search that may be in progress at once.
    """

    def __init__(self, max_concurrent_trials: int) -> None:
        self._max_concurrent_trials = max_concurrent_trials
        self.decisions: list[Decision] = []
        self.outcomes: dict[int, Outcome] = {}
        """Outcomes of the ended runs by number, in the order in which they ended."""
        self.running: set[int] = set()
        """Numbers of the runs that were started and have no outcome yet."""
        self.run_ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._first_runs: list[int] = []

    def __len__(self) -> int:
        """Number of decided runs, which is the number of the next one."""
        return len(self.decisions)

    @property
    def configurations(self) -> int:
        """Number of configurations of which at least one run was decided."""
        return len(self._first_runs)

    @property
    def open_runs(self) -> list[int]:
        """Numbers of the decided runs that are neither running nor ended."""
        return [n for n in range(len(self)) if n not in self.outcomes and n not in self.running]

    def append(self, decision: Decision, run_id: str) -> None:
        """Add the decision about the next run."""
        number = len(self.decisions)
        if decision.configuration == self.configurations:
            self._first_runs.append(number)
        self.decisions.append(decision)
        self.run_ids.append(run_id)
        self._numbers[run_id] = number

    def number(self, run_id: str) -> int:
        """Return the number of a run."""
        return self._numbers[run_id]

    def first_run(self, configuration: int) -> int:
        """Return the number of a configuration's first run."""
        return self._first_runs[configuration]

    def finish(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a run."""
        self.running.discard(number)
        self.outcomes[number] = outcome

    def count_informing_runs(self, number: int) -> int:
        """Return the number of leading runs whose outcomes inform the decision about a run."""
        return max(0, number - self._max_concurrent_trials + 1)

    def has_ended(self, runs: int) -> bool:
        """Whether the first ``runs`` runs have ended."""
        return all(n in self.outcomes for n in range(runs))

    def aggregates(self, runs: int | None = None) -> dict[int, Aggregate]:
        """Aggregate the outcomes among the first ``runs`` runs, or among all, by configuration."""
        return aggregate(
            (decision.configuration, self.outcomes[n])
            for n, decision in enumerate(self.decisions[:runs])
            if n in self.outcomes
        )

    def feasible_peers(self, seeds: Sequence[int], rung: int, runs: int) -> list[Values]:
        """Return the interim objectives of the feasible runs with the same seeds.

        Args:
            seeds: The seeds.
            rung: Index of the task after which the objectives are measured.
            runs: Number of leading runs to consider, all of which have ended.
        """
        ended = [self.outcomes[n] for n in range(runs) if self.decisions[n].seeds == seeds]
        return [
            outcome.interim[rung]
            for outcome in ended
            if len(outcome.interim) > rung and all(map(is_feasible, outcome.violation))
        ]
