"""The search record: one Optuna trial for each run of a search, in a journal file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from ngm_tune.errors import RecordError, UserError
from ngm_tune.metrics.registry import Metric
from ngm_tune.results.directory import JOURNAL, Results
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.sampling import with_coordinates, with_state

STATES = {
    "completed": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""State of the Optuna trial of a run, by the status of the run."""

SYMLINK_REFUSED = "is a symbolic link; ngm-tune writes only to files in the results directory"
"""The problem with a journal that is a symbolic link."""


class SearchRecord:
    """The Optuna study that records one search of one method on one benchmark.

    The user attributes of an Optuna trial are the ``number`` of the run within the search, its
    ``trial_id`` (also the name of the Tune trial), ``method``, ``seeds`` and ``status``.

    Args:
        name: Name of the Optuna study.
        storage: Optuna's storage; may contain an earlier part of the record.
        objectives: The metrics to optimize.
        constraints: The constraints, as the study file spells them.

    Raises:
        RecordError: The storage has the Optuna study with other directions or malformed trials.
    """

    def __init__(
        self,
        name: str,
        storage: BaseStorage,
        objectives: Sequence[Metric],
        constraints: Sequence[str],
    ) -> None:
        self.name = name
        sampler = optuna.samplers.RandomSampler()  # this study suggests nothing
        names = [metric.name for metric in objectives]
        directions = [metric.direction for metric in objectives]
        # create_study(load_if_exists=True) would append a line to the journal at every resume.
        if name in optuna.get_all_study_names(storage):
            self._study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        else:
            self._study = optuna.create_study(
                study_name=name, storage=storage, directions=directions, sampler=sampler
            )
        recorded = [direction.name.lower() for direction in self._study.directions]
        if recorded != directions:
            raise RecordError(
                f"{name} is recorded with the directions {', '.join(recorded)}; the study has "
                f"{', '.join(directions)}"
            )
        if self._study.metric_names != names:
            self._study.set_metric_names(names)
        self._constraints = constraints
        self._latest = self._read_latest()

    def _read_latest(self) -> dict[int, FrozenTrial]:
        """Return the latest Optuna trial of each run, by the number of the run.

        Optuna trials without a number are not from ngm-tune and are ignored.

        Raises:
            RecordError: A trial is malformed.
        """
        latest = {}
        for trial in self._study.get_trials(deepcopy=False):
            if not _is_well_formed(trial):
                raise RecordError(f"trial {trial.number} of {self._study.study_name} is malformed")
            number = trial.user_attrs.get("number")
            if type(number) is int:
                latest[number] = trial
        return latest

    def __getitem__(self, number: int) -> FrozenTrial | None:
        """Return the latest Optuna trial of a run; None if the run is not recorded."""
        return self._latest.get(number)

    def check_outcome(self, number: int, outcome: Outcome) -> None:
        """Check that the recorded outcome of a run, if the record has one, equals this outcome.

        The record of an outcome that was recomputed is not checked; :meth:`write` replaces it.

        Raises:
            RecordError: The objectives, violations or search coordinates differ.
        """
        trial = self._latest.get(number)
        if (
            trial is None
            or outcome.is_recomputed
            or trial.state is not TrialState.COMPLETE
            or trial.user_attrs.get("status") != outcome.status
        ):
            return
        is_at = with_coordinates(trial, outcome.coordinates) == trial
        if not is_at or not self._has_values(trial, outcome):
            raise RecordError(
                f"the recorded outcome of run {number} of {self._study.study_name} differs from "
                "its results"
            )

    def write(
        self,
        number: int,
        suggestion: FrozenTrial,
        attributes: Mapping[str, Any],
        outcome: Outcome | None,
    ) -> None:
        """Bring the record of a run up to date.

        Args:
            number: Number of the run within the search.
            suggestion: Its configuration as an Optuna trial.
            attributes: Further user attributes of the Optuna trial.
            outcome: Outcome of the run; None while it is running.
        """
        trial = self._latest.get(number)
        state = TrialState.RUNNING if outcome is None else STATES[outcome.status]
        status = "running" if outcome is None else outcome.status
        if (
            trial is not None
            and (trial.state, trial.user_attrs.get("status")) == (state, status)
            and (outcome is None or not outcome.is_recomputed or self._has_values(trial, outcome))
        ):
            return
        if trial is None or trial.state != TrialState.RUNNING:
            user_attrs = {"number": number, **attributes}
            self._study.add_trial(with_state(suggestion, TrialState.RUNNING, **user_attrs))
            trial = self._study.get_trials(deepcopy=False)[-1]
        if outcome is not None:
            trial = self._tell(trial, outcome)
        self._latest[number] = trial

    def _has_values(self, trial: FrozenTrial, outcome: Outcome) -> bool:
        """Whether a trial has the objectives and violations of an outcome."""
        violation = dict(zip(self._constraints, outcome.violation, strict=False))
        return (tuple(trial.values or ()), trial.constraints) == (outcome.values or (), violation)

    def close(self) -> None:
        """Record Optuna trials that are still running as failed, as their runs were interrupted."""
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished():
                self._tell(trial, Outcome("failed", None), "cut off")
        self._latest = self._read_latest()

    def _tell(self, trial: FrozenTrial, outcome: Outcome, status: str | None = None) -> FrozenTrial:
        handle = Trial(self._study, trial._trial_id)
        handle.set_user_attr("status", status or outcome.status)
        state = STATES[outcome.status]
        if state is not TrialState.COMPLETE:
            return self._study.tell(trial.number, state=state)
        for text, violation in zip(self._constraints, outcome.violation, strict=True):
            if text not in trial.constraints:  # a killed driver may have set some of them
                handle.set_constraint(text, violation)
        return self._study.tell(trial.number, outcome.values)


def _is_well_formed(trial: FrozenTrial) -> bool:
    """Whether a trial has the types that Optuna writes; Optuna does not check what it reads."""
    attributes = (trial.user_attrs, trial.system_attrs, trial.params)
    if not all(isinstance(attribute, dict) for attribute in attributes):
        return False
    try:
        return isinstance(trial.constraints, dict) and isinstance(trial.values, list | None)
    except Exception:  # Optuna raises various exceptions on malformed trials
        return False


class _NoLock:
    """No lock: the lock on the results directory already ensures a single writer."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@contextmanager
def open_journal(
    results: Results, taken_over: Callable[[], bool] = lambda: False
) -> Iterator[JournalStorage]:
    """Open the Optuna storage of a results directory; create its journal if necessary.

    In a remote results directory Optuna works on a local copy, which is uploaded on exit. An
    incomplete last line, which a killed driver left, is quarantined: no later read would succeed,
    and the results contain what the line would have recorded.

    Args:
        results: The results directory.
        taken_over: Returns whether another driver has taken over the results directory; the copy is
            then not uploaded.

    Raises:
        UserError: The journal is damaged or a symbolic link.
    """
    if results.folder is not None:
        path = results.folder / JOURNAL
        if is_symlink(results):
            raise UserError(f"{path}: {SYMLINK_REFUSED}")
        quarantine_incomplete_line(results)
        yield open_storage(path)
        return
    quarantine_incomplete_line(results)
    with TemporaryDirectory(prefix="ngm-tune-") as scratch:
        path = Path(scratch) / JOURNAL
        content = results.read_bytes(JOURNAL)
        if content is not None:
            path.write_bytes(content)
        try:
            yield open_storage(path)
        finally:
            if path.exists() and not taken_over():
                results.write_bytes(JOURNAL, path.read_bytes())


def is_symlink(results: Results) -> bool:
    """Whether the journal of a local results directory is a symbolic link."""
    return results.folder is not None and (results.folder / JOURNAL).is_symlink()


def quarantine_incomplete_line(results: Results) -> str | None:
    """Move an incomplete last line of the journal to ``damaged/``.

    Returns:
        The name of the file with the line; None if the last line is complete.
    """
    content = results.read_bytes(JOURNAL) or b""
    complete = content.rfind(b"\n") + 1
    if complete == len(content):
        return None
    path = results.choose_quarantine_path(f"{JOURNAL}.tail")
    results.write_bytes(path, content[complete:])
    results.write_bytes(JOURNAL, content[:complete])
    return path


def open_storage(path: Path) -> JournalStorage:
    """Open a journal file with complete lines as Optuna's storage; create it if necessary.

    Raises:
        UserError: Optuna cannot read the journal.
    """
    try:
        backend = JournalFileBackend(str(path), lock_obj=_NoLock())  # type: ignore[arg-type]
        return JournalStorage(backend)
    except OSError:
        raise
    except Exception as error:  # Optuna raises various exceptions on malformed lines
        raise UserError(
            f"{path}: not readable as Optuna's journal: {error!r}; `ngm-tune doctor "
            f"{quote(str(path.parent))}` rebuilds it from the results"
        ) from error
