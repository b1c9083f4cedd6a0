"""What a results directory says of itself in text, checked as it is read.

Only as far as reports rely on it: studies of other versions and of methods that are not installed
here can be read, too.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ngm_tune.study_tables import Confirm, SeedCount
from ngm_tune.validation import place_of, rule_of, spelled

Whole = Annotated[int, Field(ge=0)]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Titled(_Kept):
    title: str = ""


class _Range(_Kept):
    """A coordinate of a search space: choices, or numbers from ``low`` to ``high``."""

    choices: Annotated[list[Any], Field(min_length=1)] = []
    low: float | None = None
    high: float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _choices_or_range(self) -> _Range:
        low, high = self.low, self.high
        if self.choices:
            return self
        if low is None or high is None or low > high or (self.log and low <= 0.0):
            raise ValueError("neither choices nor a range from low to high")
        return self


class _Method(_Titled):
    space: dict[str, _Range] = {}


class KeptEnvironment(_Kept):
    """Of ``environment.json``."""

    started: str = ""
    resumed: str = ""
    git_revision: str | None = None
    versions: dict[str, str] = {}
    benchmarks: dict[str, _Titled] = {}
    methods: dict[str, _Method] = {}
    plateaus: dict[str, Whole] = {}
    points: dict[str, dict[str, Whole]] = {}


class _Confirm(_Kept):
    top: Whole = 0
    seeds: SeedCount = Confirm().seeds


class _Plateau(_Kept):
    trials: Whole
    growth: float


class KeptStudy(_Kept):
    """Of ``study.toml``."""

    name: str
    title: str
    benchmarks: Annotated[list[str], Field(min_length=1)]
    methods: Annotated[list[str], Field(min_length=1)]
    trials: Annotated[int, Field(ge=0, le=1_000_000)]
    seeds: SeedCount | list[int]
    sampler: str
    seed: int
    objectives: Annotated[list[str], Field(min_length=1)]
    reference_point: dict[str, float]
    constraints: list[str] = []
    racing: dict[str, Any] | None = None
    plateau: _Plateau | None = None
    confirm: _Confirm = _Confirm()
    settings: dict[str, Any] | None = None


def problem_of_kept(kind: type[BaseModel], content: object) -> str | None:
    """What is the matter with a file's content; None if nothing is."""
    try:
        kind.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        return rule_of(problem, spelled(place_of(problem, content)))
    return None
