"""What a study is: a TOML file that says what is compared, on what, and at which effort."""

from __future__ import annotations

import math
from typing import Annotated, Any, get_args

import tomli_w
from optuna.distributions import FloatDistribution, IntDistribution
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from torch import nn

from ngm_tune.benchmarks import BENCHMARKS, CUSTOM, Benchmark, Custom, get_benchmark
from ngm_tune.methods import Config, get_method, methods
from ngm_tune.metrics.constraints import Constraint
from ngm_tune.metrics.registry import METRICS, Metric
from ngm_tune.results.columns import Domain, column_type
from ngm_tune.results.expected_runs import ExpectedRuns, fresh_seeds, seeds_of
from ngm_tune.study.options import SINGLE_OBJECTIVE, Sampler
from ngm_tune.study.search_spaces import Point, SearchSpace, located, narrowed, points_for
from ngm_tune.study.sections import (
    Confirm,
    Count,
    EarlyStopping,
    Plateau,
    Racing,
    Resources,
    SeedCount,
)
from ngm_tune.study.validation import check_search, fits, known
from ngm_tune.training.options import EvalTasks, Precision, ProbeName, Strategy

Seed = Annotated[int, Field(ge=0, lt=2**63)]
_TYPES = {FloatDistribution: "float", IntDistribution: "int"}
Settings = dict[str, dict[str, bool | int | float | str]]
"""Hyper-parameters by method."""


class Study(BaseModel):
    """A validated study. Every method gets the same trials, seeds and iterations."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """How results call it; by default the file's name."""
    title: str
    """One line for `ngm-tune studies` and the report."""
    benchmarks: Annotated[list[str], Field(min_length=1)]
    methods: Annotated[list[str], Field(min_length=1)]
    trials: Count
    """Configurations tried per benchmark and method."""
    seeds: SeedCount | Annotated[list[Seed], Field(min_length=1)] = 3
    """Runs of each configuration: how many (seeds 0, 1, ...), or which."""
    seed: Seed = 0
    """Of the search: fixes every suggestion."""
    sampler: Sampler = "tpe"
    """How Optuna proposes configurations."""
    search_space: dict[str, dict[str, list[bool | float | int | str]]] = {}
    """Ranges of search coordinates instead of a method's own, by method."""
    points_to_evaluate: list[Point] = []
    """Settings that searches start from, each with its method: the first trials, within the same
    number. "paper" stands for those that the paper has for the benchmark."""
    constraints: list[str] = []
    """Bounds that a trial must keep to be on a front, such as "avg_acc >= 0.9"."""
    racing: Racing | None = None
    """Seeds one by one, further ones for configurations that could be on the front."""
    early_stopping: EarlyStopping | None = None
    """Trials stopped early that are dominated by their peers."""
    plateau: Plateau | None = None
    """The end of searches that gain nothing more."""
    confirm: Confirm = Confirm()
    """What is run again on the test data, with fresh seeds."""
    max_concurrent_trials: Count = 1
    """Trials of one method that may run at once. A suggestion has seen all results but those of
    the max_concurrent_trials - 1 trials before it, whatever order they finish in, so that a study is
    reproducible on any number of machines; more of them use a larger cluster but inform less."""
    objectives: Annotated[list[str], Field(min_length=1)] = ["avg_acc", "avg_sg"]
    reference_point: dict[str, float]
    """The corner from which hypervolume is measured: a value per objective, usually chance
    accuracy and a gap of 1."""
    strategy: Strategy = "joint"
    """What batches are drawn from: all tasks seen so far, the current one and a buffer, or only the
    current one."""
    buffer_size: Count | None = None
    """Examples that are kept for strategy = "replay"."""
    eval_every: Count = 1
    """Iterations between evaluations."""
    eval_dense: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Iterations after each transition that are all evaluated."""
    eval_examples: Count | None = None
    """At most so many examples of each task are evaluated; by default all."""
    eval_tasks: EvalTasks = "seen"
    """Which tasks are evaluated while one is trained."""
    eval_precision: Precision = "float32"
    """What evaluation computes in."""
    iterations_per_task: Count | None = None
    """Instead of the benchmark's own."""
    settings: Settings | None = None
    """Hyper-parameters of every method, instead of a search: each method is one trial, trained on
    all training data and evaluated on the test data."""
    fixed: Settings = {}
    """Hyper-parameters that a method does not search or that its benchmark would set, by method."""
    custom: Custom | None = None
    """What the benchmark "custom" is."""
    probes: list[ProbeName] = []
    """What is looked at besides accuracy while training."""
    probe_every: Count = 20
    """Iterations between probes that are costly; after a transition there are more."""
    cost: bool = False
    """Whether time and memory of a training step are measured, for every method against SGD."""
    resources: Resources = Resources()
    """What each trial gets of a machine."""

    @field_validator("reference_point", mode="before")
    @classmethod
    def _floats(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: float(v) if type(v) is int else v for k, v in value.items()}
        return value

    @field_validator("sampler", mode="before")
    @classmethod
    def _several_objectives(cls, name: Any) -> Any:
        if name in SINGLE_OBJECTIVE:
            raise ValueError(
                "it cannot search for several objectives; allowed are "
                f"{', '.join(get_args(Sampler))}"
            )
        return name

    @field_validator("benchmarks")
    @classmethod
    def _known_benchmarks(cls, names: list[str]) -> list[str]:
        return known(names, [*BENCHMARKS, CUSTOM], "benchmark")

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, names: list[str]) -> list[str]:
        return known(names, methods(), "method", "others come with packages that are not installed")

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, names: list[str]) -> list[str]:
        bounded = [name for name, metric in METRICS.items() if metric.worst is not None]
        return known(names, bounded, "objective")

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: int | list[int]) -> int | list[int]:
        if isinstance(seeds, list) and len(set(seeds)) != len(seeds):
            raise ValueError("a seed is listed twice")
        return seeds

    @model_validator(mode="after")
    def _keys_that_need_each_other(self) -> Study:
        if (self.strategy == "replay") != (self.buffer_size is not None):
            raise ValueError(
                f'strategy = "{self.strategy}" and buffer_size = {self.buffer_size}: strategy = '
                '"replay" needs a buffer_size, such as 500, and the others have no buffer'
            )
        if (CUSTOM in self.benchmarks) != (self.custom is not None):
            raise ValueError(
                f"benchmarks = {self.benchmarks}: the benchmark {CUSTOM!r} and the table [custom] "
                "that says what it is need each other"
            )
        return self

    @model_validator(mode="after")
    def _reference_for_each_objective(self) -> Study:
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
                    f"reference_point.{metric.name} = {value}: worse than a run that diverges, "
                    f"{worst:g}, which would then count as progress; chance level is usual"
                )
        return self

    @model_validator(mode="after")
    def _search_makes_sense(self) -> Study:
        check_search(self)
        return self

    @model_validator(mode="after")
    def _objectives_are_evaluated(self) -> Study:
        looked_at = [("objectives", metric) for metric in self.objective_metrics]
        looked_at += [("constraints", Constraint.parse(c).metric) for c in self.constraints]
        for key, metric in looked_at:
            if metric.every_task and self.eval_tasks != "seen":
                others = [name for name, other in METRICS.items() if not other.every_task]
                raise ValueError(
                    f'{key} has {metric.name}, which needs eval_tasks = "seen" and not '
                    f"{self.eval_tasks!r}; those that do not are {', '.join(others)}"
                )
            if metric.window is not None and self.eval_every >= metric.window:
                raise ValueError(
                    f"{key} has {metric.name}, which needs evaluations less than {metric.window} "
                    f"iterations apart; eval_every = {self.eval_every} is not allowed with it"
                )
        return self

    @model_validator(mode="after")
    def _settings_fit_the_methods(self) -> Study:
        for name, fixed in self.fixed.items():
            if name not in self.methods:
                raise ValueError(
                    f"fixed has {name}, which is no method of the study; those are "
                    f"{', '.join(self.methods)}"
                )
            fits(self, f"fixed.{name}", name, fixed, complete=False)
        if self.settings is None:
            return self
        if self.trials != 1:
            raise ValueError(f"trials = {self.trials}: with settings there is one trial per method")
        if set(self.settings) != set(self.methods):
            raise ValueError(
                f"settings has {', '.join(self.settings)}: it must have the methods of the study, "
                f"{', '.join(self.methods)}"
            )
        for name, settings in self.settings.items():
            fits(self, f"settings.{name}", name, settings, complete=True)
        return self

    @property
    def runs_per_trial(self) -> int:
        """How a trial counts: once, or with racing, where each seed is a run, as often as seeds."""
        return len(self.seed_list) if self.racing else 1

    @property
    def runs_per_search(self) -> int:
        """Runs of each benchmark and method, unless a plateau ends them."""
        return self.trials * self.runs_per_trial

    @property
    def seed_list(self) -> list[int]:
        """The seeds of every trial."""
        return seeds_of(self.seeds)

    @property
    def objective_metrics(self) -> list[Metric]:
        """The metrics to optimise."""
        return [METRICS[name] for name in self.objectives]

    @property
    def hyperparameters(self) -> dict[str, str]:
        """Names and types of those of all methods together, as results have them."""
        domains: dict[str, list[Domain]] = {}
        for method in self.methods:
            for name, domain in self.domains_of(method).items():
                domains.setdefault(name, []).append(domain)
        return {name: column_type(several).__name__ for name, several in domains.items()}

    def domains_of(self, method: str) -> dict[str, Domain]:
        """What each hyper-parameter of a method can be, of those searched and those given."""
        domains = get_method(method).domains
        if self.settings is not None:
            domains = {name: type(value) for name, value in self.settings[method].items()}
        for benchmark in self.benchmarks:
            given = self.fixed_hyperparameters(benchmark, method)
            domains = {**{name: type(value) for name, value in given.items()}, **domains}
        return domains

    @property
    def coordinates(self) -> dict[str, str]:
        """Names and types of the search coordinates of all methods together."""
        if self.settings is not None:
            return {}
        types: dict[str, str] = {}
        for method in self.methods:
            for name, where in get_method(method).space.items():
                kind = _TYPES.get(type(where), "str")
                types[name] = kind if types.get(name, kind) == kind else "str"
        return types

    @property
    def fresh_seeds(self) -> list[int]:
        """The seeds of confirmation, which the search never saw."""
        return fresh_seeds(self.seed_list, self.confirm.seeds)

    @property
    def expected_runs(self) -> ExpectedRuns:
        """What runs there can be of it."""
        return ExpectedRuns(
            name=self.name,
            benchmarks=self.benchmarks,
            methods=self.methods,
            most_configurations=self.runs_per_search,
            seeds=self.seed_list,
            fresh=self.fresh_seeds,
            racing=self.racing is not None,
            given=self.settings is not None,
        )

    def space_of(self, method: str) -> SearchSpace:
        """What is searched of a method."""
        return narrowed(get_method(method), self.search_space.get(method, {}))

    def starting_points(self, benchmark: str) -> dict[str, int]:
        """How many points the search of each method starts from."""
        return {method: len(self.points_of(benchmark, method)) for method in self.methods}

    def points_of(self, benchmark: str, method: str) -> list[Config]:
        """Search coordinates of the points that the search of a method starts from, each once.

        Raises:
            ValueError: One of them cannot be had.
        """
        points = points_for(
            self.points_to_evaluate, benchmark, method, self.benchmarks, self.methods
        )
        space, found = self.space_of(method), []
        for key, point in points:
            place = located(key, get_method(method), space, point)
            if place not in found:
                found.append(place)
        return found

    def fixed_hyperparameters(self, benchmark: str, method: str) -> Config:
        """Hyper-parameters that are not searched: the benchmark's, then those that are fixed."""
        built = get_method(method)
        settings = self._outline(benchmark).settings
        own = {name: value for name, value in settings.items() if built.accepts(name)}
        return own | self.fixed.get(method, {})

    def benchmark(self, name: str) -> Benchmark:
        """A benchmark of the study."""
        return get_benchmark(name, self.custom)

    def tasks(self, name: str) -> int:
        """How many tasks a benchmark has, also before the data of a custom one is there."""
        return self._outline(name).tasks

    def network(self, name: str) -> nn.Module:
        """A network of a benchmark; before the data of a custom one is there with other outputs."""
        return self._outline(name).build_model()

    def _outline(self, name: str) -> Benchmark:
        """A benchmark, as far as it is known before the data of a custom one is there."""
        return get_benchmark(name, self.custom and self.custom.outline())

    def resolved(self) -> Study:
        """The same with what a custom benchmark's data says of it written out.

        Raises:
            UserError: That data is not there, is damaged, or lacks a class.
        """
        if self.custom is None:
            return self
        return self.model_copy(update={"custom": self.custom.resolved()})

    def iterations(self, benchmark: str) -> int:
        """Training iterations per task on ``benchmark``."""
        return self.iterations_per_task or self.benchmark(benchmark).iterations_per_task

    def content(self) -> dict[str, Any]:
        """The study as plain values, all of them, that :meth:`model_validate` takes."""
        return self.model_dump(exclude_none=True, mode="json")

    def to_toml(self) -> str:
        """The study as a file that :func:`load_study` reads."""
        return tomli_w.dumps(self.content())
