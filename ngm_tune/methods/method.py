"""The description of a method: how it is built, and its search space."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from math import isnan
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ngm_tune.methods.finite_space import corner, draw_points
from ngm_tune.results.columns import WHOLE_LIMIT, Domain, common_type, infer_domain

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from ngm_tune.learners import Learner

Config = dict[str, Any]
"""Hyper-parameters, or search coordinates, by name."""
_CHOICE_TYPES = (type(None), bool, int, float, str)
_RESERVED = ("method", "benchmark")
"""Keys of initial points in studies, which no hyper-parameter can have as its name."""
_N_RANDOM_POINTS = 16
_NAME = re.compile(r"(?:(?:torch|pytorch_optimizer):)?[A-Za-z0-9][A-Za-z0-9_-]*")


def log_uniform(low: float, high: float) -> FloatDistribution:
    """Return a distribution on a logarithmic scale; both bounds are positive."""
    return FloatDistribution(low, high, log=True)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A training method and its search space.

    Attributes:
        name: Name in studies, results and file names: ASCII letters, digits, ``_`` and ``-``.
        title: Name in tables and reports.
        source: The paper that describes the method.
        space: Distributions of the search coordinates, by name.
        build: Builds the method with ``build(model, **hyperparameters)``. Returns a
            ``torch.optim.Optimizer`` or a :class:`~ngm_tune.learners.Learner`.
        configure: Converts search coordinates to hyper-parameters. The names of the
            hyper-parameters are the same at every point. The default is the identity.
        locate: Converts hyper-parameters to search coordinates, the inverse of ``configure``. The
            default is the identity.
        task_aware: Whether the method uses the boundaries of tasks, or the task of an example. This
            information is not available in task-free continual learning.
        ablation_of: Names of the methods of which this one is an ablation or a control. The report
            shows whether their search spaces contain the space of this method.
        default: Default settings of the optimizer, untuned: a value of each hyper-parameter. None
            if the method has no defaults.
        default_source: Where the default settings come from.

    Raises:
        ValueError: The name has other characters; ``configure`` or ``build`` does not fit
            ``space``; a hyper-parameter has the name ``method`` or ``benchmark``; ``ablation_of``
            is a single string; ``default`` has other hyper-parameters than the method, or no
            source; or results cannot store the choices of a coordinate. Choices must be None, bool,
            int, float or str, and differ in value and in their string representation.
    """

    name: str
    title: str
    source: str
    space: Mapping[str, BaseDistribution]
    build: Callable[..., Optimizer | Learner] = field(repr=False)
    configure: Callable[[Config], Config] = field(default=dict, repr=False)
    locate: Callable[[Config], Config] = field(default=dict, repr=False)
    task_aware: bool = False
    ablation_of: tuple[str, ...] = ()
    default: Mapping[str, Any] | None = None
    default_source: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"Invalid method name: {self.name!r} (must be ASCII letters, digits, _ and -)"
            )
        for name, distribution in self.space.items():
            _check_range(f"{self.name}.{name}", distribution)
        try:
            settings = self.domains
        except Exception as error:  # configure may raise any exception
            raise ValueError(
                f"Invalid configure of {self.name}: it must return the same hyper-parameters for "
                f"all points of the space ({error!r})"
            ) from error
        reserved = [name for name in settings if name in _RESERVED]
        if reserved:
            raise ValueError(
                f"Invalid hyper-parameter of {self.name}: {reserved[0]} (the name is reserved for "
                "the initial points of a study)"
            )
        self._check_references(settings)
        try:
            signature(self.build).bind_partial(None, **dict.fromkeys(settings))
        except TypeError as error:
            raise ValueError(
                f"Invalid build of {self.name}: it does not accept "
                f"{', '.join(settings) or 'a model'} ({error})"
            ) from error

    def _check_references(self, hyperparameters: Mapping[str, Domain]) -> None:
        if isinstance(self.ablation_of, str):
            raise ValueError(
                f"Invalid ablation_of of {self.name}: {self.ablation_of!r} (must be a tuple of "
                "names of methods)"
            )
        if self.default is None:
            return
        if set(self.default) != set(hyperparameters):
            raise ValueError(
                f"Invalid default of {self.name}: {dict(self.default)} (must have a value of "
                f"{', '.join(hyperparameters) or 'no hyper-parameter'})"
            )
        if not self.default_source:
            raise ValueError(
                f"Invalid default_source of {self.name}: it is empty (must name where the default "
                "settings come from)"
            )

    def settings_at(self, point: Config) -> Config:
        """Return the hyper-parameters at search coordinates, as plain Python values."""
        return _plain(self.configure(dict(point)))

    def coordinates_of(self, settings: Config) -> Config:
        """Return the search coordinates of hyper-parameters, as plain Python values."""
        return _plain(self.locate(dict(settings)))

    def accepts(self, hyperparameter: str) -> bool:
        """Whether ``build`` accepts a hyper-parameter."""
        return hyperparameter in signature(self.build).parameters

    @property
    def hyperparameters(self) -> dict[str, type]:
        """Types of the hyper-parameters by name; ``str`` for mixed types."""
        return {name: common_type(domain) for name, domain in self.domains.items()}

    @cached_property
    def domains(self) -> dict[str, Domain]:
        """The domain of each hyper-parameter: a type, or a list of values if the types are mixed.

        Domains are determined from random points of the search space and all choices.
        """
        categorical = {
            n: d for n, d in self.space.items() if isinstance(d, CategoricalDistribution)
        }
        samples = [
            self.example,
            *(
                self.settings_at({**self._corner, name: choice})
                for name, distribution in categorical.items()
                for choice in distribution.choices
            ),
            *map(self.settings_at, draw_points(self.space, _N_RANDOM_POINTS)),
        ]
        names = list(samples[0])
        for settings in samples:
            if set(settings) != set(names):
                raise ValueError(f"{', '.join(settings) or 'none'} or {', '.join(names) or 'none'}")
        return {name: infer_domain([settings[name] for settings in samples]) for name in names}

    @property
    def example(self) -> Config:
        """The hyper-parameters at the lowest corner of the search space."""
        return self.settings_at(self._corner)

    @property
    def _corner(self) -> Config:
        return corner(self.space, high=False)


def _check_range(name: str, distribution: object) -> None:
    if not isinstance(distribution, CategoricalDistribution):
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            raise ValueError(
                f"Invalid range of {name}: {distribution!r} (must be a FloatDistribution, "
                "IntDistribution or CategoricalDistribution of Optuna)"
            )
        if isinstance(distribution, IntDistribution):
            _check_whole_numbers(f"range of {name}", (distribution.low, distribution.high))
        return
    choices = distribution.choices
    numbers = [choice for choice in choices if isinstance(choice, float)]
    if not all(isinstance(choice, _CHOICE_TYPES) for choice in choices) or any(map(isnan, numbers)):
        raise ValueError(
            f"Invalid choices of {name}: {choices} (must be None, bool, int, float or str, "
            "and not NaN; configure can convert them to other objects)"
        )
    _check_whole_numbers(f"choices of {name}", choices)
    if min(len(set(choices)), len(set(map(str, choices)))) < len(choices):
        raise ValueError(
            f"Invalid choices of {name}: {choices} (two are equal or have the same string)"
        )


def _check_whole_numbers(what: str, values: Sequence[object]) -> None:
    if any(isinstance(value, int) and abs(value) > WHOLE_LIMIT for value in values):
        raise ValueError(f"Invalid {what}: {values} (a whole number is larger than 2**53)")


def _plain(values: Config) -> Config:
    """Replace scalars of NumPy and torch by Python values."""
    return {k: v.item() if getattr(v, "ndim", None) == 0 else v for k, v in values.items()}
