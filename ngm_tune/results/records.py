"""Contents of ``study.toml`` and ``environment.json``, validated when they are read.

Only the keys that reports use are validated. So the study of another version of ngm-tune, or of
methods that are not installed, can be read too.
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

from ngm_tune.messages import describe_problem, dotted, locate_keys
from ngm_tune.metrics.constraints import Constraint
from ngm_tune.metrics.registry import METRICS, Metric
from ngm_tune.results.columns import Domain
from ngm_tune.results.expected_runs import ExpectedRuns
from ngm_tune.results.run_seeds import MAX_SEARCHES, MAX_SEEDS, RunSeeds

Count = Annotated[int, Field(ge=0)]
SeedCount = Annotated[int, Field(ge=1, le=MAX_SEEDS)]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"(?:[a-z_]+:)?[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"{name!r} is not a valid name of a benchmark or method; allowed are letters, digits, "
            "'_', '.' and '-'"
        )
    return name


_Name = Annotated[str, AfterValidator(_check_name)]
"""Name of a benchmark or method, which is part of file names of the report."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Titled(_Record):
    title: str | None = None


class Range(_Record):
    """Range of a search coordinate: choices, or numbers from ``low`` to ``high``."""

    choices: Annotated[list[Any], Field(min_length=1)] = []
    low: float | None = None
    high: float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _check_bounds(self) -> Range:
        low, high = self.low, self.high
        if self.choices:
            return self
        if low is None or high is None or low > high or (self.log and low <= 0.0):
            raise ValueError(
                "must have choices, or low and high with low <= high; a log scale needs low > 0"
            )
        return self


_TYPES = {kind.__name__: kind for kind in (bool, int, float, str)}


class _File(_Record):
    """A file of ``--methods``."""

    sha256: str = ""


class _Method(_Titled):
    file: _File | None = None
    space: dict[str, Range] = {}
    hyperparameters: dict[str, Literal["bool", "int", "float", "str"] | list[Any]] = {}
    task_aware: bool = False
    ablation_of: list[str] = []
    default_source: str = ""

    @property
    def domains(self) -> dict[str, Domain]:
        """Domain of each hyper-parameter that the results describe."""
        return {
            name: _TYPES[stored] if isinstance(stored, str) else [*map(_to_tuple, stored)]
            for name, stored in self.hyperparameters.items()
        }


def _to_tuple(value: Any) -> Any:
    """Return a list as a tuple, recursively: JSON stores tuples as lists."""
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value


class StoredEnvironment(_Record):
    """Content of ``environment.json``."""

    started: str = ""
    resumed: str = ""
    git_revision: str | None = None
    versions: dict[str, str] = {}
    benchmarks: dict[str, _Titled] = {}
    methods: dict[str, _Method] = {}
    data: dict[str, list[str]] = {}
    plateaus: dict[str, Count] = {}
    """Of earlier versions: number of runs after which the searches of a benchmark ended."""
    exhausted: dict[str, dict[str, Count]] = {}
    points: dict[str, dict[str, Count]] = {}
    references: dict[str, dict[str, dict[str, Count]]] = {}


class _Confirm(_Record):
    max_configurations: Count = 0
    seeds: SeedCount = 5
    transfer: bool = False


class StoredStudy(_Record):
    """Content of ``study.toml``."""

    name: str
    title: str
    benchmarks: Annotated[list[_Name], Field(min_length=1)]
    methods: Annotated[list[_Name], Field(min_length=1)]
    searches: Annotated[int, Field(ge=1, le=MAX_SEARCHES)] = 1
    trials: Annotated[int, Field(ge=0, le=1_000_000)]
    seeds: SeedCount | list[int]
    sampler: str
    seed: int
    objectives: Annotated[list[str], Field(min_length=1)]
    reference_point: dict[str, float]
    margin: dict[str, float] = {}
    constraints: list[str] = []
    max_concurrent_trials: int = 1
    early_stopping: dict[str, Any] | None = None
    """Of earlier versions: trials end early if their peers dominate them."""
    racing: dict[str, Any] | None = None
    """Of earlier versions: further seeds only for promising configurations."""
    plateau: dict[str, Any] | None = None
    """Of earlier versions: the searches of a benchmark end when none of them improves."""
    confirm: _Confirm = _Confirm()
    settings: dict[str, dict[str, Any]] | None = None
    split: str = "drawn"
    class_order: str | None = None
    strategy: str = "joint"
    buffer_size: int | None = None
    iterations_per_task: int | None = None
    evaluation: str = "full"
    eval_every: int = 1
    eval_dense: int = 0
    eval_examples: int | None = None
    eval_tasks: str = "seen"
    eval_precision: str = "float32"
    probes: list[str] = []

    @field_validator("objectives")
    @classmethod
    def _check_metrics(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in METRICS:
                raise ValueError(f"{name!r} is not a metric; allowed are {', '.join(METRICS)}")
        return names

    @field_validator("constraints")
    @classmethod
    def _check_constraints(cls, constraints: list[str]) -> list[str]:
        for text in constraints:
            Constraint.parse(text)
        return constraints

    @model_validator(mode="after")
    def _check_reference_point(self) -> StoredStudy:
        if not set(self.objectives) <= set(self.reference_point):
            raise ValueError(
                f"reference_point = {self.reference_point}: must have a value for each of the "
                f"objectives {', '.join(self.objectives)}"
            )
        return self

    @property
    def objective_metrics(self) -> list[Metric]:
        """The optimized metrics."""
        return [METRICS[name] for name in self.objectives]

    @property
    def parsed_constraints(self) -> list[Constraint]:
        """The constraints, parsed."""
        return [Constraint.parse(text) for text in self.constraints]

    @property
    def run_seeds(self) -> RunSeeds:
        """Seeds of the runs."""
        return RunSeeds(self.seeds, self.seed, self.confirm.seeds)

    @property
    def expected_runs(self) -> ExpectedRuns:
        """The runs that the study can have."""
        has_racing = self.racing is not None
        return ExpectedRuns(
            name=self.name,
            benchmarks=self.benchmarks,
            methods=self.methods,
            searches=self.searches,
            max_configurations=self.trials * (len(self.run_seeds) if has_racing else 1),
            seeds=self.run_seeds,
            has_search=self.settings is None,
            has_transfer=self.confirm.transfer,
            has_racing=has_racing,
        )


_Content = TypeVar("_Content", bound=_Record)


def read_record(kind: type[_Content], content: object) -> _Content:
    """Validate the content of a file.

    Args:
        kind: The class of the content.
        content: The content.

    Raises:
        ValueError: A value is invalid. The message names the key, the value and the allowed values.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = dotted(locate_keys(problem, content))
        raise ValueError(describe_problem(problem, key)) from error
