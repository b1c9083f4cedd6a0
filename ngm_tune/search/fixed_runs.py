"""Configurations that are run as they are, on the test data: given ones, and those of a front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ngm_tune.methods import get_method
from ngm_tune.results.ids import CONFIRM_SUFFIX
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.method_search import Arm
from ngm_tune.search.run_spec import Configuration, Phase, Proposal
from ngm_tune.study.study import Study


class GivenArm:
    """One benchmark and method with configurations that are known, or will be.

    Args:
        benchmark: Name of the benchmark.
        method: Name of the method.
        seeds: Of each run.
        configurations: What is to be run; None while that is not known.
        expected: How many there will be, as far as can be told.
        finished: Outcomes of trials known to be complete, by id.
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
        self._found: list[Configuration] | None = None
        self._expected = expected
        self._finished = {trial: outcome.finite() for trial, outcome in finished.items()}
        self._running: set[str] = set()

    @property
    def total(self) -> int:
        """Runs there are to be, as far as that is known."""
        known = self._configurations
        return self._expected if known is None else len(known)

    @property
    def started(self) -> int:
        """Runs finished or running."""
        return len(self.outcomes) + len(self._running)

    @property
    def complete(self) -> bool:
        """Whether every run is finished."""
        return self._configurations is not None and len(self.outcomes) == self.total

    @property
    def outcomes(self) -> list[Outcome]:
        """How the finished runs ended."""
        known = self._configurations or []
        return [self._finished[c.trial_id] for c in known if c.trial_id in self._finished]

    @property
    def values(self) -> list[tuple[float, ...]]:
        """Objectives of what could be on a front."""
        done = [o for o in self.outcomes if o.status == "completed"]
        return [o.values for o in done if o.values is not None]

    def ask(self) -> Proposal | None:
        """The next run; None while none is known, or when all are started."""
        for configuration in self._configurations or []:
            run_id = configuration.trial_id
            if run_id not in self._finished and run_id not in self._running:
                self._running.add(run_id)
                return Proposal(
                    benchmark=self.benchmark,
                    method=self.method.name,
                    phase=self.phase,
                    run_id=run_id,
                    seeds=self._seeds,
                    **configuration._asdict(),
                )
        return None

    def finish(self, run_id: str, outcome: Outcome) -> None:
        """Take note of a run's end."""
        self._running.discard(run_id)
        self._finished[run_id] = outcome.finite()

    def reopen(self, run_id: str) -> None:
        """Offer a run again that was cut off before it had an end."""
        self._running.discard(run_id)

    def is_hopeless(self, run_id: str, interim: Sequence[tuple[float, ...]]) -> bool:
        """No run of these is stopped early."""
        return False

    def close(self) -> None:
        """Nobody needs to be told."""

    @property
    def _configurations(self) -> list[Configuration] | None:
        if self._found is None:
            self._found = self._find()
        return self._found


AnyArm = Arm | GivenArm


def given_settings(
    study: Study, benchmark: str, method: str, finished: Mapping[str, Outcome]
) -> GivenArm:
    """The settings that a study gives a method, instead of a search."""
    assert study.settings is not None
    trial = Configuration(f"{benchmark}.{method}.0000", dict(study.settings[method]), {})
    return GivenArm(
        benchmark,
        method,
        seeds=study.seed_list,
        configurations=lambda: [trial],
        expected=1,
        finished=finished,
    )


def confirmation(study: Study, search: Arm, finished: Mapping[str, Outcome]) -> GivenArm:
    """The front of a search, once it and its siblings are complete, with seeds they never saw."""

    def front() -> list[Configuration] | None:
        if not all(arm.complete for arm in search.siblings):
            return None
        chosen = search.chosen(study.confirm.top)
        return [found._replace(trial_id=found.trial_id + CONFIRM_SUFFIX) for found in chosen]

    return GivenArm(
        search.benchmark,
        search.method.name,
        seeds=study.fresh_seeds,
        configurations=front,
        expected=study.confirm.top,
        finished=finished,
    )
