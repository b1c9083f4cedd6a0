"""The arms of a study: one Optuna search per benchmark and method.

What a suggestion has seen does not depend on timing. Trial n of an arm is asked for once trials
0 .. n - in_flight are finished; the sampler knows exactly these, told in their order, and starts
from a seed of its own. So a study proposes the same configurations on one machine and on a hundred,
and goes on after an interruption as if there had been none.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ngm_tune.errors import UserError
from ngm_tune.methods import Method
from ngm_tune.metrics import Metric

optuna.logging.set_verbosity(optuna.logging.WARNING)
# Multivariate TPE, GPSampler and metric names are marked so; the versions are pinned.
warnings.filterwarnings("ignore", category=ExperimentalWarning)

_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(multivariate=True, seed=seed),
    "nsga2": lambda seed: NSGAIISampler(population_size=20, seed=seed),
    "gp": lambda seed: GPSampler(seed=seed, deterministic_objective=False),
    "random": lambda seed: RandomSampler(seed=seed),
}


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        status: ``completed``, ``diverged``, ``stopped`` or ``failed``.
        values: Objectives, in the study's order; None where there are none, as for ``failed``.
    """

    status: str
    values: tuple[float, ...] | None


@dataclass(frozen=True)
class Proposal:
    """A trial to be run."""

    benchmark: str
    method: str
    trial_id: str
    hyperparameters: dict[str, Any]


class Arm:
    """One benchmark and method: its search and the trials it still owes.

    Suggestions are drawn from a study in memory that knows, at each of them, exactly what it may
    know. Optuna's storage is a record of it that is told everything at once, and from which the
    study in memory is rebuilt; a trial that the record lost is suggested again, the same as before.

    Args:
        benchmark: Name of the benchmark.
        method: What is searched.
        storage: Where Optuna keeps the record; may hold an earlier part of this search.
        objectives: The metrics to optimise.
        trials: How many trials there are to be in the end.
        in_flight: How many of them may run at once.
        sampler: Name of the sampler.
        seed: Of the search.
        finished: Outcomes of trials known to be complete, by id: the truth, with which the record
            is reconciled.
    """

    def __init__(
        self,
        benchmark: str,
        method: Method,
        *,
        storage: BaseStorage,
        objectives: list[Metric],
        trials: int,
        in_flight: int,
        sampler: str,
        seed: int,
        finished: Mapping[str, Outcome],
    ) -> None:
        self.benchmark = benchmark
        self.method = method
        self.trials = trials
        self._in_flight = in_flight
        self._sampler = _SAMPLERS[sampler]
        self._seed = seed
        self._outcomes = {
            n: _checked(finished[self.trial_id(n)])
            for n in range(trials)
            if self.trial_id(n) in finished
        }
        self._running: set[int] = set()

        directions = [metric.direction for metric in objectives]
        self._study = optuna.create_study(directions=directions)
        self._told = 0
        """How many trials of the study in memory have been told their outcome: 0 .. told - 1."""

        self._record = optuna.create_study(
            study_name=f"{benchmark}/{method.name}",
            storage=storage,
            directions=directions,
            load_if_exists=True,
        )
        self._record.set_metric_names([metric.name for metric in objectives])
        self._recorded: dict[int, FrozenTrial] = {}
        """The latest record of each trial, by our number."""
        for trial in self._record.get_trials(deepcopy=False):
            if "number" in trial.user_attrs:  # not one that somebody else put there
                self._recorded[trial.user_attrs["number"]] = trial

    def trial_id(self, number: int) -> str:
        """The name of the arm's trial of that number."""
        return f"{self.benchmark}.{self.method.name}.{number:04d}"

    @property
    def started(self) -> int:
        """Trials finished or running."""
        return len(self._outcomes) + len(self._running)

    @property
    def outcomes(self) -> list[Outcome]:
        """How the finished trials ended."""
        return list(self._outcomes.values())

    def ask(self) -> Proposal | None:
        """The next trial; None while it must wait for results, or when all are started."""
        number = next(
            (n for n in range(self.trials) if n not in self._outcomes and n not in self._running),
            None,
        )
        if number is None:
            return None
        if any(n not in self._outcomes for n in range(self._known_to(number))):
            return None
        params = self._suggestion(number).params
        self._write_record(number)
        self._running.add(number)
        return Proposal(
            self.benchmark,
            self.method.name,
            self.trial_id(number),
            self.method.configure(dict(params)),
        )

    def finish(self, trial_id: str, outcome: Outcome) -> None:
        """Take note of a trial's end.

        Objectives that are not finite make it a failed one.
        """
        number = self._release(trial_id)
        self._outcomes[number] = _checked(outcome)
        self._write_record(number)

    def reopen(self, trial_id: str) -> None:
        """Offer a trial again that was cut off before it had an end."""
        self._release(trial_id)

    def close(self) -> None:
        """Bring the record up to date: every outcome, and no trial left running."""
        for number in range(self.trials):
            if number in self._outcomes:
                self._write_record(number)
        for number, trial in self._recorded.items():
            if number not in self._outcomes and not trial.state.is_finished():
                self._record.tell(trial.number, state=TrialState.FAIL)
        self._running.clear()

    def _release(self, trial_id: str) -> int:
        number = int(trial_id.rsplit(".", 1)[1])
        self._running.discard(number)
        return number

    def _known_to(self, number: int) -> int:
        """How many trials, the first ones, the suggestion of a trial may know the outcomes of."""
        return max(0, number - self._in_flight + 1)

    def _suggestion(self, number: int) -> FrozenTrial:
        """A trial of the study in memory, which is extended as far as that needs."""
        for n in range(len(self._study.get_trials(deepcopy=False)), number + 1):
            for told in range(self._told, self._known_to(n)):
                _tell(self._study, told, self._outcomes[told])
                self._told = told + 1
            if n in self._recorded:
                self._study.add_trial(_as_running(self._recorded[n]))
            else:
                entropy = (self._seed, n, *f"{self.benchmark}/{self.method.name}".encode())
                state = np.random.SeedSequence(entropy).generate_state(1)
                self._study.sampler = self._sampler(int(state[0]))
                self._study.ask(fixed_distributions=dict(self.method.space))
        return self._study.get_trials(deepcopy=False)[number]

    def _write_record(self, number: int) -> None:
        """Bring the record of a trial up to date: running, or ended as its outcome says."""
        outcome = self._outcomes.get(number)
        trial = self._recorded.get(number)
        wanted = TrialState.RUNNING if outcome is None else _OPTUNA_STATES[outcome.status]
        if trial is not None and trial.state == wanted:
            return
        if trial is None or trial.state != TrialState.RUNNING:
            record = _as_running(self._suggestion(number))
            record.user_attrs = {"number": number, "trial_id": self.trial_id(number)}
            self._record.add_trial(record)
            trial = self._record.get_trials(deepcopy=False)[-1]
        if outcome is not None:
            trial = _tell(self._record, trial.number, outcome)
        self._recorded[number] = trial


def _checked(outcome: Outcome) -> Outcome:
    """The outcome, or a failure where its objectives are not finite, which Optuna refuses."""
    if outcome.values is None or all(map(math.isfinite, outcome.values)):
        return outcome
    return Outcome("failed", None)


def _tell(study: optuna.Study, number: int, outcome: Outcome) -> FrozenTrial:
    state = _OPTUNA_STATES[outcome.status]
    values = outcome.values if state is TrialState.COMPLETE else None
    return study.tell(number, values, state=state)


def _as_running(trial: FrozenTrial) -> FrozenTrial:
    """The same suggestion, without an end; with what the sampler noted of it."""
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=trial.system_attrs,
    )


_OPTUNA_STATES = {
    "completed": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class FixedArm:
    """One benchmark and method with given hyper-parameters: a single trial, and no search.

    Args:
        benchmark: Name of the benchmark.
        method: What is run.
        hyperparameters: Its settings.
        finished: Outcomes of trials known to be complete, by id.
    """

    trials = 1

    def __init__(
        self,
        benchmark: str,
        method: Method,
        *,
        hyperparameters: dict[str, Any],
        finished: Mapping[str, Outcome],
    ) -> None:
        self.benchmark = benchmark
        self.method = method
        self._proposal = Proposal(
            benchmark, method.name, f"{benchmark}.{method.name}.0000", hyperparameters
        )
        self._outcome = finished.get(self._proposal.trial_id)
        self._running = False

    @property
    def started(self) -> int:
        """Trials finished or running."""
        return int(self._running or self._outcome is not None)

    @property
    def outcomes(self) -> list[Outcome]:
        """How the trial ended, if it did."""
        return [] if self._outcome is None else [self._outcome]

    def ask(self) -> Proposal | None:
        """The trial, unless it is started."""
        if self.started:
            return None
        self._running = True
        return self._proposal

    def finish(self, trial_id: str, outcome: Outcome) -> None:
        """Take note of the trial's end."""
        self._running, self._outcome = False, outcome

    def reopen(self, trial_id: str) -> None:
        """Offer the trial again, which was cut off before it had an end."""
        self._running = False

    def close(self) -> None:
        """Nobody needs to be told."""


def open_storage(path: Path) -> JournalStorage:
    """Optuna's storage in a journal file, made if there is none.

    A line that a killed process left half written would make every later read fail, so it is cut
    off: what it would have said is known from the results.
    """
    try:
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        return JournalStorage(JournalFileBackend(str(path)))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not readable as Optuna's journal: {error}; move it away and run the study "
            "again: it is rebuilt from the results"
        ) from error
