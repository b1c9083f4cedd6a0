"""Identifiers of trials and runs. The files of a results directory are named by them."""

from __future__ import annotations

from dataclasses import dataclass, replace

CONFIRM_SUFFIX = ".confirm"
"""Suffix of the id of a confirmation; the rest is the id of the confirmed trial."""


@dataclass(frozen=True)
class TrialId:
    """Identifier of a trial: ``<benchmark>.<method>.<number>``, with a suffix for confirmations.

    Attributes:
        benchmark: Name of the benchmark.
        method: Name of the method; it contains no dot.
        number: Number of the configuration in the method's search, from 0.
        confirms: Whether the trial is a confirmation: the same configuration on test data.

    Example:
        >>> str(TrialId("split-digits", "sgd", 3))
        'split-digits.sgd.0003'
        >>> TrialId.parse("split-digits.sgd.0003.confirm").confirms
        True
    """

    benchmark: str
    method: str
    number: int
    confirms: bool = False

    @classmethod
    def parse(cls, text: str) -> TrialId:
        """Parse an id.

        Raises:
            ValueError: The text is not the id of a trial.
        """
        confirms = text.endswith(CONFIRM_SUFFIX)
        name, _, number = text.removesuffix(CONFIRM_SUFFIX).rpartition(".")
        benchmark, _, method = name.rpartition(".")
        if not (benchmark and method and number.isdecimal()):
            raise ValueError(f"{text!r} is not the id of a trial")
        return cls(benchmark, method, int(number), confirms)

    def __str__(self) -> str:
        suffix = CONFIRM_SUFFIX if self.confirms else ""
        return f"{self.benchmark}.{self.method}.{self.number:04d}{suffix}"

    def confirmation(self) -> TrialId:
        """Return the id of the trial that confirms this one."""
        return replace(self, confirms=True)


@dataclass(frozen=True)
class RunId:
    """Identifier of a run: the training of a trial or, with racing, of one of its seeds.

    Attributes:
        trial: The trial.
        seed: The seed if the seeds of a trial are scheduled separately; otherwise None.

    Example:
        >>> str(RunId(TrialId("split-digits", "sgd", 3), seed=1))
        'split-digits.sgd.0003@1'
    """

    trial: TrialId
    seed: int | None = None

    def __str__(self) -> str:
        return str(self.trial) if self.seed is None else f"{self.trial}@{self.seed}"


def trial_of(run: str) -> str:
    """Return the trial id at the start of a run id, which need not be valid."""
    return run.partition("@")[0]


def number_of(trial: str, benchmark: object, method: object) -> int | None:
    """Return the number in a trial id; None if it is not an id of this benchmark and method."""
    try:
        parsed = TrialId.parse(trial)
    except ValueError:
        return None
    return parsed.number if (parsed.benchmark, parsed.method) == (benchmark, method) else None
