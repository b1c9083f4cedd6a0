"""What a results directory says of itself in text, checked as it is read.

Only as far as reports rely on it: studies of other versions and of methods that are not installed
here can be read, too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ngm_tune.messages import keys_of, rule_of, spelled
from ngm_tune.metrics.constraints import Constraint
from ngm_tune.metrics.registry import METRICS, Metric
from ngm_tune.results.columns import Domain
from ngm_tune.results.expected_runs import ExpectedRuns, fresh_seeds, seeds_of

Whole = Annotated[int, Field(ge=0)]
SeedCount = Annotated[int, Field(ge=1, le=10_000)]


def _named(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise ValueError(f"{name!r} is no name of a benchmark or method")
    return name


_Name = Annotated[str, AfterValidator(_named)]
"""Of a benchmark or method: files of the report are called after it."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Titled(_Record):
    title: str | None = None


class Range(_Record):
    """A coordinate of a search space: choices, or numbers from ``low`` to ``high``."""

    choices: Annotated[list[Any], Field(min_length=1)] = []
    low: float | None = None
    high: float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _choices_or_range(self) -> Range:
        low, high = self.low, self.high
        if self.choices:
            return self
        if low is None or high is None or low > high or (self.log and low <= 0.0):
            raise ValueError("neither choices nor a range from low to high")
        return self


_TYPES = {kind.__name__: kind for kind in (bool, int, float, str)}


class _Method(_Titled):
    space: dict[str, Range] = {}
    hyperparameters: dict[str, Literal["bool", "int", "float", "str"] | list[Any]] = {}

    @property
    def domains(self) -> dict[str, Domain]:
        """What each hyper-parameter can be, where the results say so."""
        return {
            name: _TYPES[kept] if isinstance(kept, str) else [*map(_unlisted, kept)]
            for name, kept in self.hyperparameters.items()
        }


def _unlisted(value: Any) -> Any:
    """A value that was a tuple before it was written as JSON is one again."""
    return tuple(map(_unlisted, value)) if isinstance(value, list) else value


class StoredEnvironment(_Record):
    """Of ``environment.json``."""

    started: str = ""
    resumed: str = ""
    git_revision: str | None = None
    versions: dict[str, str] = {}
    benchmarks: dict[str, _Titled] = {}
    methods: dict[str, _Method] = {}
    data: dict[str, list[str]] = {}
    plateaus: dict[str, Whole] = {}
    exhausted: dict[str, dict[str, Whole]] = {}
    points: dict[str, dict[str, Whole]] = {}


class _Confirm(_Record):
    max_configurations: Whole = 0
    seeds: SeedCount = 5


class _Plateau(_Record):
    patience: Whole
    min_improvement: float


class StoredStudy(_Record):
    """Of ``study.toml``."""

    name: str
    title: str
    benchmarks: Annotated[list[_Name], Field(min_length=1)]
    methods: Annotated[list[_Name], Field(min_length=1)]
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
    settings: dict[str, dict[str, Any]] | None = None
    strategy: str = "joint"
    iterations_per_task: int | None = None
    eval_every: int = 1
    eval_examples: int | None = None
    eval_precision: str = "float32"
    probes: list[str] = []

    @field_validator("objectives")
    @classmethod
    def _known_metrics(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in METRICS:
                raise ValueError(f"no metric {name!r}; there are {', '.join(METRICS)}")
        return names

    @field_validator("constraints")
    @classmethod
    def _readable(cls, constraints: list[str]) -> list[str]:
        for text in constraints:
            Constraint.parse(text)
        return constraints

    @model_validator(mode="after")
    def _reference_for_each_objective(self) -> StoredStudy:
        if not set(self.objectives) <= set(self.reference_point):
            raise ValueError(
                f"reference_point = {self.reference_point}: must give a value for each of the "
                f"objectives {', '.join(self.objectives)}"
            )
        return self

    @property
    def objective_metrics(self) -> list[Metric]:
        """The metrics that were optimised."""
        return [METRICS[name] for name in self.objectives]

    @property
    def limits(self) -> list[Constraint]:
        """The constraints, parsed."""
        return [Constraint.parse(text) for text in self.constraints]

    @property
    def seed_list(self) -> list[int]:
        """The seeds of every trial of the search."""
        return seeds_of(self.seeds)

    @property
    def runs_per_search(self) -> int:
        """Trials per benchmark and method, or with racing seed-runs, unless a plateau ends them."""
        return self.trials * (len(self.seed_list) if self.racing is not None else 1)

    @property
    def expected_runs(self) -> ExpectedRuns:
        """What runs there can be of it."""
        return ExpectedRuns(
            name=self.name,
            benchmarks=self.benchmarks,
            methods=self.methods,
            most_configurations=self.runs_per_search,
            seeds=self.seed_list,
            fresh=fresh_seeds(self.seed_list, self.confirm.seeds),
            racing=self.racing is not None,
            searched=self.settings is None,
        )


_Content = TypeVar("_Content", bound=_Record)


def read_record(kind: type[_Content], content: object) -> _Content:
    """A file's content, checked.

    Raises:
        ValueError: What is the matter with it, as a sentence.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ValueError(rule_of(problem, spelled(keys_of(problem, content)))) from error
