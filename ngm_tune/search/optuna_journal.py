"""Optuna's storage as a record of a search, one Optuna trial for each trial of Tune."""

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
from ngm_tune.search.sampling import as_trial, with_coordinates

STATES = {
    "completed": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""What Optuna is told of a trial, by its status."""

LINK = "is a link; ngm-tune writes to no file that lies elsewhere"
"""What is the matter with a journal that is one."""


class SearchRecord:
    """What Optuna's storage says of one arm.

    Every Optuna trial carries as user attributes the number of its run within the arm, its
    ``run_id``, which is Tune's name of it, the ``trial_id`` of its configuration, ``method``,
    ``seeds`` and ``status``.

    Args:
        name: Of the Optuna study.
        storage: Where it is kept; may hold an earlier part of it.
        objectives: The metrics to optimise.
        constraints: As the study has them.
    """

    def __init__(
        self,
        name: str,
        storage: BaseStorage,
        objectives: Sequence[Metric],
        constraints: Sequence[str],
    ) -> None:
        sampler = optuna.samplers.RandomSampler()  # never asked
        names = [metric.name for metric in objectives]
        # Opening adds nothing to what is there: a journal would get a line each time.
        if name in optuna.get_all_study_names(storage):
            self._study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        else:
            directions = [metric.direction for metric in objectives]
            self._study = optuna.create_study(
                study_name=name, storage=storage, directions=directions, sampler=sampler
            )
        found = [direction.name.lower() for direction in self._study.directions]
        if found != [metric.direction for metric in objectives]:
            raise RecordError(f"{name} is recorded with the directions {', '.join(found)}")
        if self._study.metric_names != names:
            self._study.set_metric_names(names)
        self._constraints = constraints
        self._latest = self._by_number()

    def _by_number(self) -> dict[int, FrozenTrial]:
        """The latest record of each run; what somebody else put there has no number.

        Raises:
            RecordError: A trial is none that Optuna would have written.
        """
        latest = {}
        for trial in self._study.get_trials(deepcopy=False):
            if not _is_sound(trial):
                raise RecordError(f"trial {trial.number} of {self._study.study_name} is none")
            number = trial.user_attrs.get("number")
            if type(number) is int:
                latest[number] = trial
        return latest

    def __getitem__(self, number: int) -> FrozenTrial | None:
        """The latest record of a run; None if there is none."""
        return self._latest.get(number)

    def decision(self, number: int) -> tuple[Any, Any] | None:
        """The configuration and the seeds that a run is recorded with; None if it is not.

        What is read is not checked: anything may stand in a journal.
        """
        trial = self._latest.get(number)
        if trial is None or "configuration" not in trial.user_attrs:
            return None
        return trial.user_attrs["configuration"], trial.user_attrs.get("seeds")

    def require(self, number: int, outcome: Outcome) -> None:
        """Raise :class:`RecordError` if a run is recorded with another end than it has."""
        trial = self._latest.get(number)
        if (
            trial is None
            or trial.state is not TrialState.COMPLETE
            or trial.user_attrs.get("status") != outcome.status
        ):
            return
        violation = dict(zip(self._constraints, outcome.violation, strict=False))
        known = tuple(trial.values or ()), trial.constraints, trial
        if known != (outcome.values, violation, with_coordinates(trial, outcome.coordinates)):
            raise RecordError(f"run {number} of {self._study.study_name} ended otherwise")

    def write(
        self,
        number: int,
        suggestion: FrozenTrial,
        attributes: Mapping[str, Any],
        outcome: Outcome | None,
    ) -> None:
        """Bring the record of a run up to date: running, or ended as its outcome says."""
        trial = self._latest.get(number)
        wanted = TrialState.RUNNING if outcome is None else STATES[outcome.status]
        status = "running" if outcome is None else outcome.status
        if trial is not None and (
            trial.state,
            trial.user_attrs.get("status"),
        ) == (wanted, status):
            return
        if trial is None or trial.state != TrialState.RUNNING:
            about = {"number": number, **attributes}
            self._study.add_trial(as_trial(suggestion, TrialState.RUNNING, **about))
            trial = self._study.get_trials(deepcopy=False)[-1]
        if outcome is not None:
            trial = self._tell(trial, outcome)
        self._latest[number] = trial

    def close(self) -> None:
        """Leave no trial running: those without an outcome were cut off."""
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished():
                self._tell(trial, Outcome("failed", None), "cut off")
        self._latest = self._by_number()

    def _tell(self, trial: FrozenTrial, outcome: Outcome, status: str | None = None) -> FrozenTrial:
        handle = Trial(self._study, trial._trial_id)
        handle.set_user_attr("status", status or outcome.status)
        state = STATES[outcome.status]
        if state is not TrialState.COMPLETE:
            return self._study.tell(trial.number, state=state)
        for text, violation in zip(self._constraints, outcome.violation, strict=True):
            if text not in trial.constraints:  # else a process was killed after it set this one
                handle.set_constraint(text, violation)
        return self._study.tell(trial.number, outcome.values)


def _is_sound(trial: FrozenTrial) -> bool:
    """Whether what Optuna reads from a journal unchecked is what it would have written."""
    if not all(isinstance(of, dict) for of in (trial.user_attrs, trial.system_attrs, trial.params)):
        return False
    try:
        return isinstance(trial.constraints, dict) and isinstance(trial.values, list | None)
    except Exception:  # whatever somebody's lines make Optuna raise
        return False


class _OneWriter:
    """No lock: the lease on the results directory lets one process write, and only one."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@contextmanager
def journal(
    results: Results, taken_over: Callable[[], bool] = lambda: False
) -> Iterator[JournalStorage]:
    """Optuna's storage of a results directory, made if there is none.

    Where the directory is no local or mounted one, it is a copy that goes there in the end. A line
    that a killed process left half written is set aside: it would make every later read fail, and
    what it would have said is known from the results.

    Args:
        results: The results directory.
        taken_over: Whether another driver has the directory by now, and with it the record.

    Raises:
        UserError: It is damaged.
    """
    if results.folder is not None:
        path = results.folder / JOURNAL
        if is_link(results):
            raise UserError(f"{path}: {LINK}")
        cut_tail(results)
        yield open_storage(path)
        return
    cut_tail(results)
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


def is_link(results: Results) -> bool:
    """Whether the journal lies elsewhere, and only a link to it here."""
    return results.folder is not None and (results.folder / JOURNAL).is_symlink()


def cut_tail(results: Results) -> str | None:
    """Move the line at the journal's end that was cut off to ``damaged/``; its place, if any."""
    content = results.read_bytes(JOURNAL) or b""
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return None
    place = results.choose_quarantine_path(f"{JOURNAL}.tail")
    results.write_bytes(place, content[whole:])
    results.write_bytes(JOURNAL, content[:whole])
    return place


def open_storage(path: Path) -> JournalStorage:
    """Optuna's storage in a journal file of whole lines, made if there is none."""
    try:
        backend = JournalFileBackend(str(path), lock_obj=_OneWriter())  # type: ignore[arg-type]
        return JournalStorage(backend)
    except OSError:
        raise
    except Exception as error:  # whatever somebody's lines make Optuna raise
        raise UserError(
            f"{path}: not readable as Optuna's journal: {error!r}; `ngm-tune doctor "
            f"{quote(str(path.parent))}` makes it again from the results"
        ) from error
