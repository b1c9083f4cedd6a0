"""The schedule of a study, which draws the next run fairly from all searches."""

from __future__ import annotations

from collections.abc import Sequence

from ngm_tune.results.outcome import Outcome
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.search.run_spec import RunSpec


class Schedule:
    """Draws the next run fairly from all sources.

    The next run is one of the earliest repetition with a run to start, from the source that has
    started the fewest. So methods advance together, and an interrupted study has whole repetitions,
    which can be compared. A schedule has no state to save, since every decision is a function of
    the outcomes.

    Args:
        sources: All searches and fixed runs of a study.
    """

    def __init__(self, sources: Sequence[RunSource]) -> None:
        self._sources = sources
        self._running: dict[str, RunSource] = {}

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return all(source.complete for source in self._sources)

    def ask(self) -> RunSpec | None:
        """Start the next run; None while every source waits for outcomes or is complete."""
        for source in sorted(self._sources, key=lambda s: (s.repetition, s.started)):
            spec = source.ask()
            if spec is not None:
                self._running[spec.run_id] = source
                return spec
        return None

    def is_running(self, run_id: str) -> bool:
        """Whether a run was started and has not ended."""
        return run_id in self._running

    def tell(self, run_id: str, outcome: Outcome) -> None:
        """Record the outcome of a run."""
        self._running.pop(run_id).finish(run_id, outcome)

    def reopen(self, run_id: str) -> None:
        """Make an interrupted run available to :meth:`ask` again."""
        self._running.pop(run_id).reopen(run_id)
