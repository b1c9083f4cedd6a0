"""What a method is: a way of training, and where its hyper-parameters are searched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import Tensor
from torch.optim import Optimizer

from ngm_tune.learners import Learner
from ngm_tune.stored import Domain, column_type, domain_of

Config = dict[str, Any]
_CHOICES = (type(None), bool, int, float, str)
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
        configure: From search coordinates to hyper-parameters, where they differ.
        locate: From hyper-parameters back to search coordinates, the inverse of ``configure``.
        task_aware: Whether it is told when a task begins or ends, or of which task an example is.
            What nobody tells in practice makes an upper bound, an "oracle".

    Raises:
        ValueError: The name is another one; ``configure`` or ``build`` do not go with ``space``; or
            its choices cannot be kept in results: they must be None, truth values, numbers or
            texts, and no two of them be spelled alike.
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
            _check_range(name, where)
        try:
            settings = self.domains
        except Exception as error:  # whatever somebody's configure raises
            raise ValueError(
                f"Invalid configure: it makes no hyper-parameters of a point in space ({error!r})"
            ) from error
        try:
            signature(self.build).bind_partial(None, **dict.fromkeys(settings))
        except TypeError as error:
            raise ValueError(
                f"Invalid build: it does not take {', '.join(settings) or 'a model'} ({error})"
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

    @property
    def domains(self) -> dict[str, Domain]:
        """What each hyper-parameter of ``build`` can be: its type, or choices of several types."""
        choices = {n: w for n, w in self.space.items() if isinstance(w, CategoricalDistribution)}
        tried = [
            self.example,
            *(
                self.settings_at({**self._corner, name: choice})
                for name, where in choices.items()
                for choice in where.choices
            ),
        ]
        return {name: domain_of([settings[name] for settings in tried]) for name in tried[0]}

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
    if not all(isinstance(choice, _CHOICES) for choice in where.choices):
        raise ValueError(
            f"Invalid choices of {name}: {where.choices} (must be None, bool, int, float or str; "
            "configure makes anything else of them)"
        )
    if len(set(map(str, where.choices))) < len(where.choices):
        raise ValueError(f"Invalid choices of {name}: {where.choices} (two are spelled alike)")


def _plain(values: Config) -> Config:
    return {
        k: v.item() if isinstance(v, np.generic | np.ndarray | Tensor) and v.ndim == 0 else v
        for k, v in values.items()
    }


def _some_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low  # type: ignore[attr-defined]
