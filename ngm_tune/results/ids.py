"""Identifiers of trials and runs. The files of a results directory are named by them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

CONFIRM_SUFFIX = ".confirm"
"""Suffix of the id of a confirmation; the rest is the id of the confirmed trial."""

_ORIGIN = ".from-"
_REPETITION = "r"
_COLON, _PLUS = ":", "+"
"""Names of optimizers have a colon, which file names on Windows and in archives cannot have."""
_TRIAL = re.compile(
    rf"(.+?)\.([^.]+)(?:\.{_REPETITION}([1-9]\d*))?\.(\d+)"
    rf"(?:({re.escape(CONFIRM_SUFFIX)})|{re.escape(_ORIGIN)}([^.]+))?",
    re.ASCII,
)


def search_name(benchmark: str, method: str, repetition: int, separator: str = ".") -> str:
    """Return the name of the search of a method on a benchmark, in one of its repetitions."""
    parts = [
        benchmark,
        method.replace(_COLON, _PLUS),
        *([f"{_REPETITION}{repetition}"] if repetition else []),
    ]
    return separator.join(parts)


def is_like_repetition(name: str) -> bool:
    """Whether a name of a method would be read as a repetition, such as ``r1``."""
    return re.fullmatch(rf"{_REPETITION}\d+", name, re.ASCII) is not None


@dataclass(frozen=True)
class TrialId:
    """Identifier of a trial, such as ``split-digits.sgd.r1.0003.confirm``.

    It consists of the benchmark, the method, the repetition unless that is 0, the number of the
    configuration, and a suffix for runs on test data: ``.confirm`` for a confirmation, ``.from-``
    and the benchmark of the search for a transfer.

    Attributes:
        benchmark: Name of the benchmark on which the trial runs.
        method: Name of the method; it contains no dot and no plus sign, and is not like ``r1``.
            Its colon, as in ``torch:Adagrad``, is a plus sign in the id.
        number: Number of the configuration in the method's search, from 0.
        confirms: Whether the trial is a confirmation: the same configuration on test data.
        repetition: Repetition of the search, from 0.
        origin: Name of another benchmark, without a dot, in whose search the configuration has
            this number: the trial is a transfer. None for all other trials.

    Example:
        >>> str(TrialId("split-digits", "sgd", 3, repetition=1))
        'split-digits.sgd.r1.0003'
        >>> TrialId.parse("split-digits.sgd.0003.confirm").confirms
        True
        >>> TrialId.parse("split-digits.sgd.0003.from-rotated-digits").origin
        'rotated-digits'
        >>> str(TrialId("split-digits", "torch:Adagrad", 3))
        'split-digits.torch+Adagrad.0003'
        >>> TrialId.parse("split-digits.torch+Adagrad.0003").method
        'torch:Adagrad'
    """

    benchmark: str
    method: str
    number: int
    confirms: bool = False
    repetition: int = 0
    origin: str | None = None

    @classmethod
    def parse(cls, text: str) -> TrialId:
        """Parse an id.

        Raises:
            ValueError: The text is not the id of a trial.
        """
        match = _TRIAL.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not the id of a trial")
        benchmark, method, repetition, number, confirm, origin = match.groups()
        method = method.replace(_PLUS, _COLON)
        return cls(benchmark, method, int(number), bool(confirm), int(repetition or 0), origin)

    def __str__(self) -> str:
        suffix = CONFIRM_SUFFIX if self.confirms else ""
        if self.origin is not None:
            suffix = f"{_ORIGIN}{self.origin}"
        search = search_name(self.benchmark, self.method, self.repetition)
        return f"{search}.{self.number:04d}{suffix}"

    def confirmation(self) -> TrialId:
        """Return the id of the trial that confirms this one."""
        return replace(self, confirms=True)

    def transfer(self, benchmark: str) -> TrialId:
        """Return the id of the trial that runs this one's configuration on another benchmark."""
        return replace(self, benchmark=benchmark, origin=self.benchmark)

    @property
    def searched(self) -> TrialId:
        """Id of the search trial with the same configuration."""
        return replace(self, benchmark=self.origin or self.benchmark, confirms=False, origin=None)

    @property
    def is_selected(self) -> bool:
        """Whether the trial runs a selected configuration on test data, with fresh seeds."""
        return self.confirms or self.origin is not None


@dataclass(frozen=True)
class RunId:
    """Identifier of a run: the training of a trial, or of a seed that was added to it.

    Attributes:
        trial: The trial.
        seed: The seed if it was added to a confirmation later; otherwise None.

    Example:
        >>> str(RunId(TrialId("split-digits", "sgd", 3, confirms=True), seed=1002))
        'split-digits.sgd.0003.confirm@1002'
    """

    trial: TrialId
    seed: int | None = None

    def __str__(self) -> str:
        return str(self.trial) if self.seed is None else f"{self.trial}@{self.seed}"


def trial_of(run: str) -> str:
    """Return the trial id at the start of a run id, which need not be valid."""
    return run.partition("@")[0]


def parse_run(run: str) -> TrialId | None:
    """Return the trial of a run id; None if the id is not valid."""
    try:
        return TrialId.parse(trial_of(run))
    except ValueError:
        return None
