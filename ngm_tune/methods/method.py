"""What a method is: a way of training, and where its hyper-parameters are searched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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

from ngm_tune.methods.finite_space import scattered
from ngm_tune.results.columns import INT64, Domain, column_type, domain_of

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from ngm_tune.learners import Learner

Config = dict[str, Any]
_CHOICES = (type(None), bool, int, float, str)
_RESERVED = ("method", "benchmark")
_SCATTERED = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def log_uniform(low: float, high: float) -> FloatDistribution:
    """A positive parameter searched on a logarithmic scale."""
    return FloatDistribution(low, high, log=True)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way of training, and where its hyper-parameters are searched.

    Attributes:
        name: How studies and results call it, and their files: ASCII letters, digits, ``_``, ``-``.
        title: How reports call it.
        source: The paper it comes from.
        space: Search coordinates and their ranges.
        build: Makes the optimizer, ``build(model, **hyperparameters)``, or for what is more than an
            optimizer a :class:`~ngm_tune.learners.Learner`.
        configure: From search coordinates to hyper-parameters, where they differ; of every point
            the same ones.
        locate: From hyper-parameters back to search coordinates, the inverse of ``configure``.
        task_aware: Whether it is told when a task begins or ends, or of which task an example is.
            What nobody tells in practice makes an upper bound, an "oracle".

    Raises:
        ValueError: The name is another one; ``configure`` or ``build`` do not go with ``space``; a
            hyper-parameter is called ``method`` or ``benchmark``; or choices cannot be kept in
            results: they must be None, truth values, numbers or texts, and no two of them equal or
            spelled alike.
    """

    name: str
    title: str
    source: str
    space: Mapping[str, BaseDistribution]
    build: Callable[..., Optimizer | Learner] = field(repr=False)
    configure: Callable[[Config], Config] = field(default=dict, repr=False)
    locate: Callable[[Config], Config] = field(default=dict, repr=False)
    task_aware: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"Invalid method name: {self.name!r} (must be ASCII letters, digits, _ and -)"
            )
        for name, where in self.space.items():
            _check_range(f"{self.name}.{name}", where)
        try:
            settings = self.domains
        except Exception as error:  # whatever somebody's configure raises
            raise ValueError(
                f"Invalid configure of {self.name}: it does not make the same hyper-parameters of "
                f"all points in space ({error!r})"
            ) from error
        reserved = [name for name in settings if name in _RESERVED]
        if reserved:
            raise ValueError(
                f"Invalid hyper-parameter of {self.name}: {reserved[0]} (what points of a study "
                "are of and for is called so)"
            )
        try:
            signature(self.build).bind_partial(None, **dict.fromkeys(settings))
        except TypeError as error:
            raise ValueError(
                f"Invalid build of {self.name}: it does not take "
                f"{', '.join(settings) or 'a model'} ({error})"
            ) from error

    def settings_at(self, point: Config) -> Config:
        """The hyper-parameters at search coordinates, as plain Python values."""
        return _plain(self.configure(dict(point)))

    def coordinates_of(self, settings: Config) -> Config:
        """The search coordinates of hyper-parameters, as plain Python values."""
        return _plain(self.locate(dict(settings)))

    def accepts(self, hyperparameter: str) -> bool:
        """Whether ``build`` takes a hyper-parameter of that name."""
        return hyperparameter in signature(self.build).parameters

    @property
    def hyperparameters(self) -> dict[str, type]:
        """Names and types of the hyper-parameters of ``build``; text where types are mixed."""
        return {name: column_type([domain]) for name, domain in self.domains.items()}

    @cached_property
    def domains(self) -> dict[str, Domain]:
        """What each hyper-parameter of ``build`` can be: its type, or values of several types.

        As far as points from all over the search space tell, every choice among them.
        """
        choices = {n: w for n, w in self.space.items() if isinstance(w, CategoricalDistribution)}
        tried = [
            self.example,
            *(
                self.settings_at({**self._corner, name: choice})
                for name, where in choices.items()
                for choice in where.choices
            ),
            *map(self.settings_at, scattered(self.space, _SCATTERED)),
        ]
        names = list(tried[0])
        for settings in tried:
            if set(settings) != set(names):
                raise ValueError(f"{', '.join(settings) or 'none'} or {', '.join(names) or 'none'}")
        return {name: domain_of([settings[name] for settings in tried]) for name in names}

    @property
    def example(self) -> Config:
        """The hyper-parameters of one corner of the search space: the smallest values."""
        return self.settings_at(self._corner)

    @property
    def _corner(self) -> Config:
        return {name: _some_value(where) for name, where in self.space.items()}


def _check_range(name: str, where: object) -> None:
    if not isinstance(where, CategoricalDistribution):
        if not isinstance(where, FloatDistribution | IntDistribution):
            raise ValueError(
                f"Invalid range of {name}: {where!r} (must be a FloatDistribution, IntDistribution "
                "or CategoricalDistribution of Optuna)"
            )
        return
    choices = where.choices
    numbers = [choice for choice in choices if isinstance(choice, float)]
    if not all(isinstance(choice, _CHOICES) for choice in choices) or any(map(isnan, numbers)):
        raise ValueError(
            f"Invalid choices of {name}: {choices} (must be None, bool, int, float or str, "
            "and not NaN; configure makes anything else of them)"
        )
    if any(isinstance(choice, int) and not -INT64 <= choice < INT64 for choice in choices):
        raise ValueError(f"Invalid choices of {name}: {choices} (one has more than 64 bits)")
    if min(len(set(choices)), len(set(map(str, choices)))) < len(choices):
        raise ValueError(f"Invalid choices of {name}: {choices} (two are equal or spelled alike)")


def _plain(values: Config) -> Config:
    """Replace scalars of NumPy and torch by Python values."""
    return {k: v.item() if getattr(v, "ndim", None) == 0 else v for k, v in values.items()}


def _some_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low  # type: ignore[attr-defined]
