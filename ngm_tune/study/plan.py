"""The plan of a study: its names of methods and benchmarks, looked up once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from optuna.distributions import FloatDistribution, IntDistribution

from ngm_tune.benchmarks import Benchmark, get_benchmark
from ngm_tune.benchmarks.custom_benchmark import outline
from ngm_tune.methods import Config, Method, get_method
from ngm_tune.results.columns import Domain, column_type
from ngm_tune.study.initial_points import located, points_for
from ngm_tune.study.search_spaces import SearchSpace, narrowed
from ngm_tune.study.study import Study

if TYPE_CHECKING:
    from torch import nn

_TYPES = {FloatDistribution: "float", IntDistribution: "int"}


@dataclass(frozen=True)
class StudyPlan:
    """A study with everything that its names stand for.

    Attributes:
        study: The study.
        methods: Methods by name.
        outlines: Benchmarks by name; of ``custom`` as much as is known before its data is read.
        spaces: Search space of each method.
    """

    study: Study
    methods: Mapping[str, Method]
    outlines: Mapping[str, Benchmark]
    spaces: Mapping[str, SearchSpace]

    @classmethod
    def resolve(cls, study: Study) -> StudyPlan:
        """Look up the names of a study.

        Raises:
            ValueError: A name is unknown, or a range is not allowed.
        """
        methods = {name: get_method(name) for name in study.methods}
        custom = study.custom and outline(study.custom)
        return cls(
            study=study,
            methods=methods,
            outlines={name: get_benchmark(name, custom) for name in study.benchmarks},
            spaces={
                name: narrowed(method, study.search_space.get(name, {}))
                for name, method in methods.items()
            },
        )

    @cached_property
    def hyperparameters(self) -> dict[str, str]:
        """Names and types of the hyper-parameters of all methods, as columns of the results."""
        domains: dict[str, list[Domain]] = {}
        for method in self.methods:
            for name, domain in self.domains_of(method).items():
                domains.setdefault(name, []).append(domain)
        return {name: column_type(several).__name__ for name, several in domains.items()}

    @cached_property
    def coordinates(self) -> dict[str, str]:
        """Names and types of the search coordinates of all methods, as columns of the results."""
        types: dict[str, str] = {}
        for method in self.methods.values() if self.study.settings is None else ():
            for name, distribution in method.space.items():
                kind = _TYPES.get(type(distribution), "str")
                types[name] = kind if types.get(name, kind) == kind else "str"
        return types

    def domains_of(self, method: str) -> dict[str, Domain]:
        """Return the domain of each hyper-parameter of a method, searched or fixed."""
        domains = self.methods[method].domains
        if self.study.settings is not None:
            domains = {name: type(value) for name, value in self.study.settings[method].items()}
        for benchmark in self.outlines:
            fixed = self.fixed_hyperparameters(benchmark, method)
            domains = {**{name: type(value) for name, value in fixed.items()}, **domains}
        return domains

    def fixed_hyperparameters(self, benchmark: str, method: str) -> Config:
        """Return the hyper-parameters that are not searched: the benchmark's, then ``fixed``."""
        accepts = self.methods[method].accepts
        defaults = self.outlines[benchmark].settings
        of_benchmark = {name: value for name, value in defaults.items() if accepts(name)}
        return of_benchmark | self.study.fixed.get(method, {})

    def points_of(self, benchmark: str, method: str) -> list[Config]:
        """Return the distinct search coordinates from which the search of a method starts.

        Raises:
            ValueError: A point is of another method or benchmark, or outside of the search space.
        """
        study = self.study
        points = points_for(
            study.points_to_evaluate, benchmark, method, study.benchmarks, study.methods
        )
        distinct: list[Config] = []
        for key, point in points:
            coordinates = located(key, self.methods[method], self.spaces[method], point)
            if coordinates not in distinct:
                distinct.append(coordinates)
        return distinct

    def starting_points(self, benchmark: str) -> dict[str, int]:
        """Return the number of points from which the search of each method starts."""
        return {method: len(self.points_of(benchmark, method)) for method in self.methods}

    def benchmark(self, name: str) -> Benchmark:
        """Return a benchmark that can be loaded; the study must be resolved."""
        return get_benchmark(name, self.study.custom)

    def iterations(self, benchmark: str) -> int:
        """Return the training iterations of each task of a benchmark."""
        return self.study.iterations_per_task or self.outlines[benchmark].iterations_per_task

    def network(self, benchmark: str) -> nn.Module:
        """Build a network of a benchmark; an unread ``custom`` has other outputs."""
        return self.outlines[benchmark].build_model()
