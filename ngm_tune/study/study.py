"""The study: the content of its TOML file, and the rules among its own keys."""

from __future__ import annotations

import math
from typing import Annotated, Any, get_args

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from ngm_tune.benchmarks import CUSTOM, Custom
from ngm_tune.metrics.constraints import Constraint
from ngm_tune.metrics.registry import METRICS, Metric
from ngm_tune.results.expected_runs import ExpectedRuns
from ngm_tune.results.run_seeds import MAX_SEARCHES, MAX_STUDY_SEED, RunSeeds
from ngm_tune.study.names import check_names
from ngm_tune.study.options import SINGLE_OBJECTIVE, Sampler
from ngm_tune.study.search_spaces import Point
from ngm_tune.study.sections import (
    Confirm,
    Count,
    Resources,
    SeedCount,
)
from ngm_tune.training.options import (
    ClassOrder,
    EvalTasks,
    EvaluationMode,
    Precision,
    ProbeName,
    SplitKind,
    Strategy,
)

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Settings = dict[str, dict[str, bool | int | float | str]]
"""Hyper-parameters by method."""


class Study(BaseModel):
    """A study. Every method gets the same number of trials, seeds and iterations.

    :class:`~ngm_tune.study.plan.StudyPlan` looks up its methods and benchmarks by name.
    :func:`~ngm_tune.study.validation.validate` checks the study against them.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the study in results and reports; by default the name of its file."""
    title: str
    """One-line title, shown by `ngm-tune studies` and in the report."""
    benchmarks: Annotated[list[str], Field(min_length=1)]
    """Names of the benchmarks; "custom" stands for your own images."""
    methods: Annotated[list[str], Field(min_length=1)]
    """Names of the methods to compare. The report compares the first one with all others."""
    searches: Annotated[int, Field(ge=1, le=MAX_SEARCHES)] = 5
    """Number of repetitions of the whole search of every method, or of the runs of `settings`. Each
    repetition has seeds, suggestions, a validation split and a class order of its own, the same for
    every method. Differences between methods are averaged over repetitions, and their intervals
    need at least two."""
    trials: Count
    """Number of configurations in each search."""
    seeds: SeedCount | Annotated[list[Seed], Field(min_length=1)] = 1
    """Seeds of each configuration: a number of seeds, which then differ between repetitions and
    with `seed`, or a list of seeds."""
    seed: Annotated[int, Field(ge=0, le=MAX_STUDY_SEED)] = 0
    """Seed of the study. It determines every suggestion and, unless `seeds` is a list, the seeds of
    all runs. Studies with different seeds have no run in common."""
    sampler: Sampler = "tpe"
    """Algorithm that suggests configurations."""
    search_space: dict[str, dict[str, list[bool | float | int | str]]] = {}
    """Ranges that replace those of a method, for example
    `search_space.sgd = { lr = [1e-3, 1e-1] }`: the lowest and the highest value, or the choices."""
    points_to_evaluate: list[Point] = []
    """Configurations with which the searches start; they count as trials. A table such as
    `{ method = "sgd", lr = 0.01 }` is one configuration. "default" stands for the default settings
    of each optimizer, untuned, and "paper" for the paper's settings for the benchmark. These are
    references: the study also confirms them if they are not on a front, and reports show them."""
    constraints: list[str] = []
    """Bounds on metrics, such as "avg_acc >= 0.9". Only feasible trials can be on a front."""
    confirm: Confirm = Confirm()
    """How the best configurations of each search are confirmed on the test data."""
    max_concurrent_trials: Count = 1
    """Number of trials of one method that may run at the same time. A suggestion uses the results
    of all earlier trials except the last `max_concurrent_trials - 1`, regardless of the order in
    which trials finish, so a study is reproducible on any number of machines. A larger value uses
    more machines; each suggestion is then based on fewer results."""
    split: SplitKind = "drawn"
    """Validation data of the search: drawn from the training data at random in each repetition
    ("drawn"), by `seed`, or the split of the benchmark ("fixed")."""
    class_order: ClassOrder | None = None
    """Classes of each task of a class-incremental benchmark, and pixel permutations of
    Permuted-MNIST: drawn at random in each repetition ("drawn"), by `seed`, or as in the paper
    ("paper"). By default "drawn", except for benchmarks with the same classes in every task."""
    objectives: Annotated[list[str], Field(min_length=1)] = ["avg_acc", "avg_sg"]
    """Metrics that the searches optimize."""
    reference_point: dict[str, float]
    """The least useful value of each objective, such as the lowest accuracy and the largest gap at
    which a configuration is still of use. The hypervolume is measured from there, and
    configurations beyond it are not confirmed. A reference point far from the good configurations
    hides differences between them."""
    margin: dict[str, float] = {}
    """For some of the objectives, the largest difference between methods that is of no practical
    use. Methods are equivalent if the interval of their difference lies within the margin."""
    strategy: Strategy = "joint"
    """Data from which batches are drawn: all tasks so far ("joint"), half from the current task and
    half from a buffer ("replay"), or the current task only ("naive")."""
    buffer_size: Count | None = None
    """Number of examples in the buffer of `strategy = "replay"`."""
    evaluation: EvaluationMode = "full"
    """Examples on which old tasks are evaluated during training, in searches and confirmations: all
    of them ("full"), or those that can change an accuracy near its minimum ("adaptive"), about a
    fifth. Stability gaps, minimum accuracies and recovery times are those of full evaluation."""
    eval_every: Count = 1
    """Number of iterations between evaluations."""
    eval_dense: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Number of iterations after each transition in which every iteration is evaluated."""
    eval_examples: Count | None = None
    """Largest number of examples of each task that are evaluated; all by default."""
    eval_tasks: EvalTasks = "seen"
    """Tasks that are evaluated during training: all tasks so far ("seen"), or only the first and
    the previous one ("first-and-previous")."""
    eval_precision: Precision = "float32"
    """Precision of evaluations. "mixed" computes in bfloat16, and again in float32 where rounding
    could change a prediction; its accuracy equals that of "float32"."""
    iterations_per_task: Count | None = None
    """Training iterations of each task; by default those of the benchmark."""
    settings: Settings | None = None
    """Hyper-parameters of each method, instead of a search. Each method has one trial, trained on
    all training data and evaluated on the test data."""
    fixed: Settings = {}
    """Hyper-parameters that a search does not vary, by method, for example
    `fixed.ngm-sgd = { normalise_entropy = true }`. They override those of the benchmark."""
    custom: Custom | None = None
    """Your own images, for the benchmark "custom"."""
    probes: list[ProbeName] = []
    """Quantities to measure besides accuracy."""
    probe_every: Count = 20
    """Number of iterations between costly probes. After a transition they are more frequent."""
    cost: bool = False
    """Measure time and memory of a training step of each method, relative to SGD."""
    resources: Resources = Resources()
    """Resources of each trial."""

    @field_validator("reference_point", "margin", mode="before")
    @classmethod
    def _convert_to_floats(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: float(v) if type(v) is int else v for k, v in value.items()}
        return value

    @field_validator("sampler", mode="before")
    @classmethod
    def _check_sampler(cls, name: Any) -> Any:
        if name in SINGLE_OBJECTIVE:
            raise ValueError(
                f"it supports a single objective only; allowed are {', '.join(get_args(Sampler))}"
            )
        return name

    @field_validator("objectives")
    @classmethod
    def _check_objectives(cls, names: list[str]) -> list[str]:
        bounded = [name for name, metric in METRICS.items() if metric.worst is not None]
        check_names(names, bounded, "objective")
        return names

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: int | list[int]) -> int | list[int]:
        if isinstance(seeds, list) and len(set(seeds)) != len(seeds):
            raise ValueError("a seed is listed twice")
        return seeds

    @model_validator(mode="after")
    def _check_dependent_keys(self) -> Study:
        if (self.strategy == "replay") != (self.buffer_size is not None):
            raise ValueError(
                f'strategy = "{self.strategy}" and buffer_size = {self.buffer_size}: strategy = '
                '"replay" needs a buffer_size, such as 500; the other strategies have no buffer'
            )
        if self.searches > 1 and isinstance(self.seeds, list):
            raise ValueError(
                f"seeds = {self.seeds}: with searches = {self.searches} it must be a number of "
                "seeds, since repetitions have no seed in common; or set searches = 1"
            )
        if (CUSTOM in self.benchmarks) != (self.custom is not None):
            raise ValueError(
                f"benchmarks = {self.benchmarks}: the benchmark {CUSTOM!r} needs the table "
                "[custom], and the table needs the benchmark"
            )
        return self

    @model_validator(mode="after")
    def _check_reference_point(self) -> Study:
        if set(self.reference_point) != set(self.objectives):
            raise ValueError(
                f"reference_point = {self.reference_point}: must give one value for each of the "
                f"objectives {', '.join(self.objectives)}"
            )
        for metric in self.objective_metrics:
            value = self.reference_point[metric.name]
            if not (math.isfinite(value) and metric.sign * value > metric.sign * metric.best):
                raise ValueError(
                    f"reference_point.{metric.name} = {value}: must be a number worse than the "
                    f"ideal, {metric.best:g}"
                )
            worst = metric.best if metric.worst is None else metric.worst
            if metric.sign * value > metric.sign * worst:
                raise ValueError(
                    f"reference_point.{metric.name} = {value}: worse than the value of a diverged "
                    f"run, {worst:g}, so that diverged runs would add hypervolume; use chance level"
                )
        return self

    @model_validator(mode="after")
    def _check_margin(self) -> Study:
        for name, value in self.margin.items():
            if name not in self.objectives:
                raise ValueError(
                    f"margin has {name}, which is not an objective; the objectives are "
                    f"{', '.join(self.objectives)}"
                )
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"margin.{name} = {value}: must be a positive number")
        return self

    @model_validator(mode="after")
    def _check_evaluation(self) -> Study:
        metrics = [("objectives", metric) for metric in self.objective_metrics]
        metrics += [("constraints", Constraint.parse(c).metric) for c in self.constraints]
        for key, metric in metrics:
            if metric.every_task and self.eval_tasks != "seen":
                others = [name for name, other in METRICS.items() if not other.every_task]
                raise ValueError(
                    f'{key} has {metric.name}, which needs eval_tasks = "seen"; metrics that allow '
                    f'eval_tasks = "{self.eval_tasks}" are {", ".join(others)}'
                )
            if metric.window is not None and self.evaluation == "adaptive":
                raise ValueError(
                    f'{key} has {metric.name}, which needs evaluation = "full"; with "adaptive" it '
                    "is unknown"
                )
            if metric.window is not None and self.eval_every >= metric.window:
                raise ValueError(
                    f"{key} has {metric.name}, which needs eval_every less than {metric.window}; "
                    f"it is {self.eval_every}"
                )
        return self

    @property
    def run_seeds(self) -> RunSeeds:
        """The seeds of the runs."""
        return RunSeeds(self.seeds, self.seed, self.confirm.seeds)

    @property
    def objective_metrics(self) -> list[Metric]:
        """The metrics to optimize."""
        return [METRICS[name] for name in self.objectives]

    @property
    def expected_runs(self) -> ExpectedRuns:
        """The runs that the results of this study can contain."""
        return ExpectedRuns(
            name=self.name,
            benchmarks=self.benchmarks,
            methods=self.methods,
            searches=self.searches,
            max_configurations=self.trials,
            seeds=self.run_seeds,
            has_search=self.settings is None,
            has_transfer=self.confirm.transfer,
        )

    def count_informing_trials(self, number: int) -> int:
        """Return the number of leading trials whose outcomes inform the suggestion of a trial."""
        return max(0, number - self.max_concurrent_trials + 1)

    def resolved(self) -> Study:
        """Return the study with the entries of ``custom`` that depend on its data filled in.

        Raises:
            UserError: The data is missing or damaged, or lacks a class.
        """
        if self.custom is None:
            return self
        from ngm_tune.benchmarks.custom_images import resolve

        return self.model_copy(update={"custom": resolve(self.custom)})

    def content(self) -> dict[str, Any]:
        """Return the study as plain values that :meth:`model_validate` accepts."""
        return self.model_dump(exclude_none=True, mode="json")

    def to_toml(self) -> str:
        """Return the study as TOML, which :func:`~ngm_tune.study.files.load_study` can read."""
        return tomli_w.dumps(self.content())
