"""The plan of a study: its methods and benchmarks, looked up by name once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ngm_tune.benchmarks import Benchmark, get_benchmark
from ngm_tune.benchmarks.arrangement import Arrangement
from ngm_tune.benchmarks.custom_benchmark import with_placeholder_classes
from ngm_tune.methods import Config, Method
from ngm_tune.results.columns import Domain, Kind, column_kind
from ngm_tune.study.initial_points import locate, select_points
from ngm_tune.study.search_spaces import (
    Reference,
    SearchSpace,
    method_with_ranges,
    narrow_space,
)
from ngm_tune.study.study import Study

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class StudyPlan:
    """A study with the methods, benchmarks and search spaces that its names refer to.

    Attributes:
        study: The study.
        methods: Methods by name.
        outlines: Benchmarks by name; ``custom`` has placeholder classes unless the study is
            resolved (:meth:`~ngm_tune.study.study.Study.resolved`).
        spaces: Search space of each method.
    """

    study: Study
    methods: Mapping[str, Method]
    outlines: Mapping[str, Benchmark]
    spaces: Mapping[str, SearchSpace]

    @classmethod
    def resolve(cls, study: Study) -> StudyPlan:
        """Look up the names in a study.

        Raises:
            ValueError: A name is unknown, or a range is invalid.
        """
        methods = {
            name: method_with_ranges(name, study.search_space.get(name, {}))
            for name in study.methods
        }
        custom = study.custom and with_placeholder_classes(study.custom)
        return cls(
            study=study,
            methods=methods,
            outlines={name: get_benchmark(name, custom) for name in study.benchmarks},
            spaces={
                name: narrow_space(method, study.search_space.get(name, {}))
                for name, method in methods.items()
            },
        )

    @cached_property
    def hyperparameters(self) -> dict[str, Kind]:
        """The results columns of each hyper-parameter, by name, over all methods."""
        return _column_kinds(map(self.domains_of, self.methods))

    @cached_property
    def coordinates(self) -> dict[str, Kind]:
        """The results columns of each search coordinate, by name, over all methods."""
        if self.study.settings is not None:
            return {}
        spaces = (method.space for method in self.methods.values())
        kinds = _column_kinds({k: _domain_of(d) for k, d in space.items()} for space in spaces)
        chosen = [
            name
            for method in self.methods.values()
            for name, distribution in method.space.items()
            if isinstance(distribution, CategoricalDistribution) and kinds[name] == "float"
        ]
        return kinds | dict.fromkeys(chosen, "float and str")

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
        """Return the hyper-parameters of a method that are not searched.

        These are the settings of the benchmark, overridden by ``fixed`` of the study.
        """
        accepts = self.methods[method].accepts
        defaults = self.outlines[benchmark].settings
        accepted = {name: value for name, value in defaults.items() if accepts(name)}
        return accepted | self.study.fixed.get(method, {})

    def points_of(self, benchmark: str, method: str) -> list[Config]:
        """Return the search coordinates of the initial points of a search, without duplicates.

        Raises:
            ValueError: The study does not have the method or benchmark of a point, or a point is
                outside the search space.
        """
        distinct: list[Config] = []
        for _, coordinates in self._located_points(benchmark, method):
            if coordinates not in distinct:
                distinct.append(coordinates)
        return distinct

    def references_of(self, benchmark: str, method: str) -> dict[Reference, int]:
        """Return the number of the configuration in the search that is each reference, by name.

        Two references that agree in all settings are one configuration.

        Raises:
            ValueError: As for :meth:`points_of`.
        """
        points = self.points_of(benchmark, method)
        return {
            reference: points.index(coordinates)
            for reference, coordinates in self._located_points(benchmark, method)
            if reference is not None
        }

    def _located_points(
        self, benchmark: str, method: str
    ) -> Iterator[tuple[Reference | None, Config]]:
        """Yield the name of the reference and the search coordinates of each initial point."""
        study = self.study
        for key, settings, reference in select_points(
            study.points_to_evaluate, benchmark, method, study.benchmarks, self.methods
        ):
            yield reference, locate(key, self.methods[method], self.spaces[method], settings)

    def count_initial_points(self, benchmark: str) -> dict[str, int]:
        """Return the number of initial points of the search of each method on a benchmark.

        Two references that agree, such as the default settings and those of the paper, count as two
        points: their authors advise the same.
        """
        points = {method: self._located_points(benchmark, method) for method in self.methods}
        return {
            method: len({(name, *sorted(place.items())) for name, place in located})
            for method, located in points.items()
        }

    def arrangement(self, benchmark: str, repetition: int) -> Arrangement:
        """Return the class order and the validation split of a benchmark in one repetition."""
        study = self.study
        order = self.outlines[benchmark].has_order and study.class_order != "paper"
        draws_split = study.split == "drawn"
        return Arrangement(
            split_seed=_derive(study.seed, repetition, "split") if draws_split else None,
            order_seed=_derive(study.seed, repetition, "order") if order else None,
        )

    def benchmark(self, name: str) -> Benchmark:
        """Return a benchmark that can be loaded. The study must be resolved."""
        return get_benchmark(name, self.study.custom)

    def iterations(self, benchmark: str) -> int:
        """Return the number of training iterations of each task of a benchmark."""
        return self.study.iterations_per_task or self.outlines[benchmark].iterations_per_task

    def build_network(self, benchmark: str) -> nn.Module:
        """Build the network of a benchmark.

        The network of an unresolved ``custom`` has a placeholder number of outputs.
        """
        return self.outlines[benchmark].build_model()


def _column_kinds(domains_of_methods: Iterable[Mapping[str, Domain]]) -> dict[str, Kind]:
    """Return the results columns of each name, over the domains of all methods."""
    domains: dict[str, list[Domain]] = {}
    for of_method in domains_of_methods:
        for name, domain in of_method.items():
            domains.setdefault(name, []).append(domain)
    return {name: column_kind(of_name) for name, of_name in domains.items()}


def _domain_of(distribution: BaseDistribution) -> Domain:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return int if isinstance(distribution, IntDistribution) else float


def _derive(seed: int, repetition: int, purpose: str) -> int:
    """Return a 32-bit seed for one purpose in one repetition, independent of all others."""
    entropy = (seed, repetition, *purpose.encode())
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
