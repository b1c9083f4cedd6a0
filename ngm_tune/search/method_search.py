"""The arms of a study: one Optuna search per benchmark and method, and what is run as it is.

What an arm decides does not depend on timing. Its runs are numbered; run n is decided once runs
0 .. n - in_flight are finished, from exactly these. So a study proposes the same configurations on
one machine and on a hundred, and goes on after an interruption as if there had been none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from ngm_tune.errors import RecordError, UserError
from ngm_tune.methods import get_method
from ngm_tune.methods.finite_space import grid_of
from ngm_tune.metrics.pareto import Constraint, hypervolume, is_feasible, on_front, to_confirm
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.aggregation import UNKNOWN, Knowledge, gather
from ngm_tune.search.early_stopping import hopeless
from ngm_tune.search.optuna_journal import Record
from ngm_tune.search.racing import next_in_race
from ngm_tune.search.run_spec import Configuration, Phase, Proposal
from ngm_tune.search.sampling import as_trial, problem_of_coordinates, suggest, with_coordinates
from ngm_tune.study.study import Study


@dataclass(frozen=True)
class _Run:
    """What an arm decided: a configuration by its number, and the seeds to run it with."""

    configuration: int
    seeds: tuple[int, ...]


class Arm:
    """One benchmark and method: its search and the runs it still owes.

    Without racing a run is a configuration with all seeds of the study. With racing it is one
    seed-run: a further seed of a configuration that could still be on the front, or else the first
    of a new one, within the same number of seed-runs for every arm.

    Optuna's storage is a record that is told everything at once. Suggestions are functions of what
    is known; one that the record lost is made again, the same as before.

    Args:
        study: What is asked for.
        benchmark: One of its benchmarks.
        method: One of its methods.
        storage: Where Optuna keeps the record; may hold an earlier part of this search.
        finished: Outcomes of runs known to be complete, by id: the truth, with which the record is
            reconciled.
    """

    phase: Phase = "search"

    def __init__(
        self,
        study: Study,
        benchmark: str,
        method: str,
        *,
        storage: BaseStorage,
        finished: Mapping[str, Outcome],
    ) -> None:
        self.benchmark = benchmark
        self.method = get_method(method)
        self.siblings: Sequence[Arm] = [self]
        """The arms of the same benchmark, itself among them; with a plateau, all end together."""
        self._study = study
        self._objectives = study.objective_metrics
        self._limits = [Constraint.parse(text) for text in study.constraints]
        self._space = study.space_of(method)
        self._points = study.points_of(benchmark, method)
        self._finished = {run: outcome.finite() for run, outcome in finished.items()}
        self._runs: list[_Run] = []
        self._numbers: dict[str, int] = {}
        """Of the runs, by their ids."""
        self._outcomes: dict[int, Outcome] = {}
        self._running: set[int] = set()
        self._suggestions: dict[int, FrozenTrial] = {}
        self._grid = grid_of(self._space)
        self._ends_at: int | None = None
        self.on_plateau = False
        """Whether a plateau ended it."""
        self._record = Record(f"{benchmark}/{method}", storage, self._objectives, study.constraints)
        if study.plateau is None:  # with one it takes the siblings
            self.advance()

    @property
    def total(self) -> int:
        """Runs there are to be: trials, or with racing seed-runs, unless they end before."""
        if self._ends_at is not None:
            return self._ends_at
        most = self._study.runs_per_search
        if self._grid is not None:
            most = min(most, self._grid.size * self._study.runs_per_trial)
        return max(most, len(self._runs))

    @property
    def exhausted(self) -> bool:
        """Whether it ended as nothing was left to be tried of its search space."""
        return self.complete and not self.on_plateau and self.total < self._study.runs_per_search

    @property
    def started(self) -> int:
        """Runs finished or running."""
        return len(self._outcomes) + len(self._running)

    @property
    def complete(self) -> bool:
        """Whether every run is finished."""
        return len(self._outcomes) == self.total

    @property
    def outcomes(self) -> list[Outcome]:
        """How the finished runs ended."""
        return list(self._outcomes.values())

    @property
    def values(self) -> list[tuple[float, ...]]:
        """Objectives of the configurations on the front."""
        return list(self.front().values())

    def ask(self) -> Proposal | None:
        """The next run; None while it must wait for results, or when all are started."""
        self.advance()
        for number, run in enumerate(self._runs):
            if number in self._outcomes or number in self._running:
                continue
            if not self._knows(self._known_to(number)):
                return None
            self._write_record(number)
            self._running.add(number)
            return Proposal(
                benchmark=self.benchmark,
                method=self.method.name,
                phase=self.phase,
                run_id=self._run_id(number),
                seeds=run.seeds,
                **self._configuration(run.configuration)._asdict(),
            )
        return None

    def finish(self, run_id: str, outcome: Outcome) -> None:
        """Take note of a run's end.

        Objectives that are not finite make it a failed one.
        """
        number = self._numbers[run_id]
        self._running.discard(number)
        self._outcomes[number] = outcome.finite()
        self._write_record(number)
        self.advance()

    def advance(self) -> None:
        """Decide what can be decided, in rounds: a plateau ends all siblings after as many runs."""
        while sum(arm._decide() for arm in self.siblings):
            pass

    def reopen(self, run_id: str) -> None:
        """Offer a run again that was cut off before it had an end."""
        self._running.discard(self._numbers[run_id])

    def close(self) -> None:
        """Bring the record up to date: every outcome, and no run left running."""
        for number in self._outcomes:
            self._write_record(number)
        self._record.close()
        self._running.clear()

    def is_hopeless(self, run_id: str, interim: Sequence[tuple[float, ...]]) -> bool:
        """Whether a run should be stopped, with these objectives after each task so far.

        It is compared with the runs that it may know of and that had the same seeds, but for those
        that broke a constraint. A further seed that racing asked for is run to its end: it is there
        to measure a configuration that could be on the front.
        """
        rule = self._study.stopping
        number, rung = self._numbers[run_id], len(interim) - 1
        seeds = self._runs[number].seeds
        further = self._study.racing is not None and seeds != (self._study.seed_list[0],)
        if rule is None or further or len(interim) < rule.tasks:
            return False
        peers = [
            self._outcomes[n].interim[rung]
            for n in range(self._known_to(number))
            if self._runs[n].seeds == seeds
            and len(self._outcomes[n].interim) > rung
            and all(map(is_feasible, self._outcomes[n].violation))
        ]
        return hopeless(tuple(interim[rung]), peers, self._objectives, rule)

    def front(self, runs: int | None = None) -> dict[int, tuple[float, ...]]:
        """Configurations that no other dominates, by number, and their objectives.

        Only such as ran with all seeds to the end, and keep the constraints.

        Args:
            runs: Regard only so many, the first ones; by default all.
        """
        needed = self._study.runs_per_trial
        whole = {
            c: known.values
            for c, known in self._knowledge(runs).items()
            if known.eligible and known.values is not None and len(known.each) == needed
        }
        front = on_front(list(whole.values()), self._objectives)
        return {c: values for (c, values), on in zip(whole.items(), front, strict=True) if on}

    def chosen(self, count: int) -> list[Configuration]:
        """At most ``count`` configurations of the front to confirm, once all siblings are complete.

        First what is to be compared with other methods, then what dominates most.
        """
        front = self.front()
        firsts = [values[0] for arm in self.siblings for values in arm.front().values()]
        picked = to_confirm(
            list(front.values()),
            self._objectives,
            self._study.reference_point,
            count,
            self._objectives[0].best_among(firsts),
        )
        return [self._configuration(list(front)[i]) for i in picked]

    def _configuration(self, number: int) -> Configuration:
        coordinates = dict(self._suggestion(number).params)
        try:
            settings = self.method.settings_at(coordinates)
        except Exception as error:  # whatever somebody's configure raises
            raise UserError(
                f"{self.method.name}: configure makes no hyper-parameters of {coordinates}: "
                f"{error!r}"
            ) from error
        return Configuration(self._trial_id(number), settings, coordinates)

    def _trial_id(self, configuration: int) -> str:
        return f"{self.benchmark}.{self.method.name}.{configuration:04d}"

    def _run_id(self, number: int) -> str:
        return self._id_of(self._runs[number])

    def _id_of(self, run: _Run) -> str:
        seed = f"@{run.seeds[0]}" if self._study.racing else ""
        return self._trial_id(run.configuration) + seed

    def _known_to(self, number: int) -> int:
        """How many runs, the first ones, the decision on a run may know the outcomes of."""
        return max(0, number - self._study.in_flight + 1)

    def _knows(self, runs: int) -> bool:
        return all(n in self._outcomes for n in range(min(runs, self.total)))

    def _decide(self) -> bool:
        """Decide on the next run, unless that must wait or there is none."""
        number = len(self._runs)
        known = self._known_to(number)
        most = self._study.runs_per_search if self._ends_at is None else self._ends_at
        if number >= most or not self._knows(known):
            return False
        if self._study.plateau is not None:
            if not all(arm._knows(known) for arm in self.siblings):
                return False
            if self._plateau_ends(number):
                self._ends_at, self.on_plateau = number, True
                return False
        run = self._recorded(number) or self._next(number, known)
        if run is None and self._knows(number):  # those that were waited for may leave something
            run = self._next(number, number)
            if run is None:
                self._ends_at = number
        if run is None:
            return False
        self._runs.append(run)
        self._numbers[self._run_id(number)] = number
        if self._run_id(number) in self._finished:
            self._outcomes[number] = self._finished[self._run_id(number)]
            self._record.require(number, self._outcomes[number])
        return True

    def _recorded(self, number: int) -> _Run | None:
        """What was decided on the next run before an interruption, if that is recorded."""
        recorded, decision = self._record[number], self._record.decision(number)
        if recorded is None:
            return None
        possible = [self._new()]
        if self._study.racing:
            runs = Counter(run.configuration for run in self._runs)
            seeds = self._study.seed_list
            possible += [_Run(c, (seeds[n],)) for c, n in runs.items() if n < len(seeds)]
        fits = (
            recorded.distributions == self._space and recorded.params.keys() == self._space.keys()
        )
        if fits and problem_of_coordinates(self._space, recorded.params) is None:
            if decision is None:
                return None
            for run in possible:
                if decision == (run.configuration, list(run.seeds)):
                    return run
        raise RecordError(
            f"the record of run {number} of {self.benchmark}/{self.method.name} is none that this "
            "study could have made"
        )

    def _next(self, number: int, known: int) -> _Run | None:
        """The next run, by what the first ``known`` runs tell; None if nothing is left to try."""
        further = self._race(number, known) if self._study.racing else None
        new = self._new()
        return further or (None if self._is_exhausted(new) else new)

    def _is_exhausted(self, new: _Run) -> bool:
        """Whether a new configuration could only be one that was tried already."""
        return (
            self._grid is not None
            and new.configuration >= self._grid.size
            and len(self._tried(new.configuration)) == self._grid.size
            and self._id_of(new) not in self._finished
        )

    def _tried(self, configurations: int) -> set[int]:
        """The numbers that the first configurations have in the grid of the search space."""
        assert self._grid is not None
        return {self._grid.number(self._suggestion(c).params) for c in range(configurations)}

    def _new(self) -> _Run:
        """A new configuration: with its first seed where configurations race, else with all."""
        started = {run.configuration for run in self._runs}
        seeds = self._study.seed_list
        return _Run(len(started), tuple(seeds[:1] if self._study.racing else seeds))

    def _race(self, number: int, known: int) -> _Run | None:
        """A further seed for a configuration that could be on the front, if there is one."""
        assert self._study.racing is not None
        seeds = self._study.seed_list
        waiting = {run.configuration for run in self._runs[known:]}
        contenders = {
            c: runs.each for c, runs in self._knowledge(known).items() if runs.status == "completed"
        }
        best = next_in_race(
            contenders,
            [c for c, each in contenders.items() if len(each) < len(seeds) and c not in waiting],
            self._objectives,
            self._study.racing.chance,
            self._seed(number),
            self._limits,
        )
        return None if best is None else _Run(best, (seeds[len(contenders[best])],))

    def _plateau_ends(self, number: int) -> bool:
        """Whether no arm gains anything more, so that the searches end before a run.

        Not before one that there was already: failed trials that were run again may have made the
        front what it was to become.
        """
        known = self._known_to(number)
        return (
            all(arm._is_on_plateau(known) for arm in self.siblings)
            and any(arm._volume(known) > 0.0 for arm in self.siblings)
            and all(arm._record[number] is None for arm in self.siblings)
        )

    def _is_on_plateau(self, runs: int) -> bool:
        """Whether the front gained little over the last of the first ``runs`` runs."""
        rule = self._study.plateau
        assert rule is not None
        window = rule.trials * self._study.runs_per_trial
        if runs < 2 * window:
            return False
        now, before = self._volume(runs), self._volume(runs - window)
        return now - before <= rule.growth * now

    def _volume(self, runs: int) -> float:
        """The hypervolume of the front after the first ``runs`` runs."""
        front = list(self.front(runs).values())
        return hypervolume(front, self._objectives, self._study.reference_point)

    def _knowledge(self, runs: int | None = None) -> dict[int, Knowledge]:
        """What is known of each configuration, as far as the first runs tell."""
        return gather(
            (run.configuration, self._outcomes[n])
            for n, run in enumerate(self._runs[:runs])
            if n in self._outcomes
        )

    def _suggestion(self, configuration: int) -> FrozenTrial:
        """The search coordinates of a configuration, as Optuna's trial."""
        if configuration not in self._suggestions:
            first = next(
                n for n, run in enumerate(self._runs) if run.configuration == configuration
            )
            suggestion = self._record[first] or self._suggest(configuration, first)
            ended = self._finished.get(self._run_id(first))
            if ended is not None:  # where it was run is the truth, too
                suggestion = with_coordinates(suggestion, ended.coordinates)
            self._suggestions[configuration] = suggestion
        return self._suggestions[configuration]

    def _suggest(self, configuration: int, number: int) -> FrozenTrial:
        """Ask for a configuration, knowing what the decision on its first run may know."""
        knowledge = self._knowledge(self._known_to(number))
        known = (
            as_trial(
                self._suggestion(c),
                runs.state,
                runs.values,
                {
                    text: min(amount, 0.0) if is_feasible(amount) else amount
                    for text, amount in zip(self._study.constraints, runs.violation, strict=False)
                },
            )
            for c in range(configuration)
            for runs in [knowledge.get(c, UNKNOWN)]
        )
        suggestion = suggest(
            self._study.sampler,
            self._space,
            [metric.direction for metric in self._objectives],
            known,
            self._seed(number),
            self._points[configuration] if configuration < len(self._points) else None,
        )
        return suggestion if self._grid is None else self._untried(suggestion, configuration)

    def _untried(self, suggestion: FrozenTrial, configuration: int) -> FrozenTrial:
        """The suggestion or, where that was tried already, what comes next and was not.

        To run a configuration again with the same seeds would tell nothing.
        """
        assert self._grid is not None
        tried, number = self._tried(configuration), self._grid.number(suggestion.params)
        if number not in tried or len(tried) == self._grid.size:
            return suggestion
        while number in tried:
            number = (number + 1) % self._grid.size
        return with_coordinates(suggestion, self._grid.at(number))

    def _seed(self, number: int) -> int:
        """Of what is random in the decision on a run."""
        entropy = (self._study.seed, number, *f"{self.benchmark}/{self.method.name}".encode())
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _write_record(self, number: int) -> None:
        run = self._runs[number]
        outcome = self._outcomes.get(number)
        about = {
            "trial_id": self._trial_id(run.configuration),
            "run_id": self._run_id(number),
            "configuration": run.configuration,
            "method": self.method.name,
            "seeds": list(run.seeds),
            "status": "running",
        }
        self._record.write(number, self._suggestion(run.configuration), about, outcome)
