"""Optimizers of torch.optim and pytorch-optimizer by name, such as ``torch:Adagrad``.

The libraries are imported when a name is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from inspect import Parameter, Signature, isclass, signature
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ngm_tune.methods.method import Method
from ngm_tune.methods.named_spaces import NAMED_SPACES

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from ngm_tune.learners import Learner

LIBRARIES = {"torch": "torch.optim", "pytorch_optimizer": "pytorch_optimizer"}
"""Module of each library, by the part of a name before the colon."""

_TECHNICAL = {"foreach", "fused", "capturable", "differentiable", "maximize", "kwargs", "use_gc"}
"""Arguments of optimizers that are not hyper-parameters."""
_CLOSURE = {"LBFGS", "AliG", "BSAM", "EmoNavi", "EmoFact", "EmoLynx"}
_CURVATURE = {"AdaHessian", "SophiaH"}
_REFUSED = {
    **dict.fromkeys(
        ("APOLLO", "Fira", "GaLore"),
        "groups of parameters with 'rank', without which it is AdamW",
    ),
    "AdamC": "groups of parameters with 'normalized', without which it is AdamW",
    "AdamWSN": "groups of parameters with 'sn', without which it is AdamW",
    "MuonClip": "the logits of attention, without which it is Muon",
    "LoRARite": "pairs of factors of LoRA",
}
"""What optimizers of pytorch-optimizer need that a study cannot give; they do not miss it."""
_INNER_MOMENTUM = 0.9
_LOG_RATIO = 10.0
"""Ranges of positive numbers that span a factor of ten are searched on a logarithmic scale."""


def is_named(name: str) -> bool:
    """Whether a name of a method is that of an optimizer of a library."""
    return ":" in name


@cache
def named_method(name: str) -> Method:
    """Return the method of an optimizer by name.

    Args:
        name: Library and class, such as ``pytorch_optimizer:Lion``.

    Raises:
        ValueError: No optimizer has this name, or its arguments include objects that a study
            cannot give.
    """
    arguments = dict(_arguments(name))
    known = NAMED_SPACES.get(name)
    space = {} if known is None else dict(known.space)
    library = LIBRARIES[name.partition(":")[0]]
    source = f"{library}.{name.partition(':')[2]}"
    return Method(
        name=name,
        title=name,
        source=source if known is None else known.source,
        space=space,
        build=_Build(name, tuple(arguments.values())),
        **_defaults(name, arguments, space),
    )


def with_ranges(method: Method, ranges: Mapping[str, Sequence[Any]]) -> Method:
    """Return a named method with the search coordinates of a study.

    Hyper-parameters without a range of their own get the range of the study: the lowest and the
    highest number, or the choices. Ranges of positive numbers that span a factor of ten are on a
    logarithmic scale.

    Raises:
        ValueError: The optimizer has no such hyper-parameter, or its values have another type.
    """
    parameters = dict(list(signature(method.build).parameters.items())[1:])
    added: dict[str, BaseDistribution] = {}
    for name, values in ranges.items():
        if name not in parameters:
            raise ValueError(
                f"search_space.{method.name} has {name}, which is not a hyper-parameter of "
                f"{method.name}; it takes {', '.join(parameters)}"
            )
        if name not in method.space:
            key = f"search_space.{method.name}.{name}"
            added[name] = _distribution(key, parameters[name].annotation, list(values))
    space = {**method.space, **added}
    if not added:
        return method
    return replace(method, space=space, **_defaults(method.name, parameters, space))


@dataclass(frozen=True)
class _Build:
    """Builds an optimizer by name; its signature has the hyper-parameters."""

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def __signature__(self) -> Signature:
        model = Parameter("model", Parameter.POSITIONAL_OR_KEYWORD)
        return Signature([model, *self.parameters])

    def __call__(self, model: nn.Module, **settings: Any) -> Any:
        """Build the optimizer of a model, or a learner that takes its steps."""
        from ngm_tune.learners import steps

        optimizer = find_optimizer(self.name)
        arguments = self._join(settings)
        kind = optimizer.__name__
        if self.name == "torch:Muon":
            return _build_torch_muon(model, optimizer, arguments)
        if _takes_muon_groups(optimizer):
            hidden, others = steps.split_for_muon(model, lambda p: p.ndim >= 2)
            groups = [
                {"params": part, "use_muon": use_muon}
                for part, use_muon in ((hidden, True), (others, False))
                if part
            ]
            return optimizer(groups, **arguments)
        if kind == "Lookahead":
            from torch.optim import SGD

            inner = SGD(model.parameters(), arguments.pop("lr", 1e-3), momentum=_INNER_MOMENTUM)
            return steps.SlowWeights(model, optimizer(inner, **arguments))
        first = next(iter(signature(optimizer).parameters))
        built = optimizer(model if first == "model" else model.parameters(), **arguments)
        if kind in _CLOSURE:
            return steps.ClosureStep(model, built)
        if kind in _CURVATURE:
            return steps.CurvatureStep(model, built)
        return built

    def _join(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the optimizer, with tuples such as betas put together."""
        arguments = dict(settings)
        for argument, default in _tuples(find_optimizer(self.name)).items():
            parts = [f"{argument.removesuffix('s')}{i + 1}" for i in range(len(default))]
            if any(part in arguments for part in parts):
                arguments[argument] = tuple(
                    arguments.pop(part, value) for part, value in zip(parts, default, strict=True)
                )
        return arguments


def _build_torch_muon(
    model: nn.Module, muon: Callable[..., Optimizer], arguments: dict[str, Any]
) -> Learner:
    from torch.optim import AdamW

    from ngm_tune.learners.steps import WithAdamW, split_for_muon

    hidden, others = split_for_muon(model, lambda p: p.ndim == 2)
    if not hidden:
        raise ValueError(
            f"{type(model).__name__} has no hidden layer that is linear, and torch:Muon is for "
            "matrices; pytorch_optimizer:Muon also trains convolutions"
        )
    lr, decay = arguments.pop("adamw_lr", 3e-4), arguments.pop("adamw_wd", 0.0)
    adamw = AdamW(others, lr=lr, weight_decay=decay) if others else None
    return WithAdamW(model, muon(hidden, **arguments), adamw)


def find_optimizer(name: str) -> Callable[..., Any]:
    """Return the class of an optimizer by name.

    Raises:
        ValueError: As for :func:`named_method`.
    """
    from torch.optim import Optimizer

    library, _, kind = name.partition(":")
    if library not in LIBRARIES:
        raise ValueError(
            f"no method {name!r}: before the colon must be one of {', '.join(LIBRARIES)}"
        )
    module = import_module(LIBRARIES[library])
    found = getattr(module, kind, None)
    if not (isclass(found) and issubclass(found, Optimizer)) or found is Optimizer:
        optimizers = [
            n
            for n, value in vars(module).items()
            if isclass(value) and issubclass(value, Optimizer) and value is not Optimizer
        ]
        raise ValueError(
            f"no method {name!r}: {LIBRARIES[library]} has no optimizer {kind!r}; it has "
            f"{', '.join(sorted(optimizers))}"
        )
    if library != "torch" and found.__module__.startswith("torch.optim"):
        raise ValueError(f"no method {name!r}: the optimizer is one of torch, named torch:{kind}")
    if library != "torch" and kind in _REFUSED:
        raise ValueError(_explain_need(name, _REFUSED[kind]))
    return found


def _takes_muon_groups(optimizer: Callable[..., Any]) -> bool:
    return any(base.__name__ == "MuonBase" for base in getattr(optimizer, "__mro__", ()))


def _arguments(name: str) -> Mapping[str, Parameter]:
    """Return the hyper-parameters of an optimizer, as parameters of ``build``."""
    optimizer = find_optimizer(name)
    parameters = list(signature(optimizer).parameters.values())
    arguments: dict[str, Parameter] = {}

    def add(argument: str, kind: type, default: Any) -> None:
        arguments[argument] = Parameter(
            argument, Parameter.KEYWORD_ONLY, default=default, annotation=kind
        )

    is_lookahead = optimizer.__name__ == "Lookahead"
    if is_lookahead:
        add("lr", float, 1e-3)
    elif parameters[0].name not in ("params", "model"):
        raise ValueError(_explain_need(name, parameters[0].name))
    tuples = _tuples(optimizer)
    for parameter in parameters[1:]:
        if parameter.name in _TECHNICAL or parameter.kind is Parameter.VAR_KEYWORD:
            continue
        if parameter.name in tuples:
            for i, value in enumerate(tuples[parameter.name]):
                add(f"{parameter.name.removesuffix('s')}{i + 1}", float, value)
            continue
        kind = _scalar_type(parameter)
        if kind is not None:
            add(parameter.name, kind, parameter.default)
        elif parameter.default is Parameter.empty:
            raise ValueError(_explain_need(name, parameter.name))
    if name == "torch:Muon":
        add("adamw_lr", float, 3e-4)
        add("adamw_wd", float, 0.0)
    return arguments


def _explain_need(name: str, need: str) -> str:
    hint = "use the method sam" if "SAM" in name else "write a method of your own"
    return f"{name} needs {need}; a study cannot give this: {hint}"


def _tuples(optimizer: Callable[..., Any]) -> dict[str, tuple[float, ...]]:
    """Return the arguments whose defaults are several numbers, such as betas."""
    return {
        parameter.name: tuple(parameter.default)
        for parameter in signature(optimizer).parameters.values()
        if isinstance(parameter.default, tuple)
        and all(type(value) in (int, float) for value in parameter.default)
    }


def _scalar_type(parameter: Parameter) -> type | None:
    """Return the type of a hyper-parameter by its annotation; None if it is an object."""
    default = parameter.default
    if type(default) in (bool, str):
        return type(default)
    words = set(re.findall(r"\w+", str(parameter.annotation)))
    if words & {"Callable", "dtype", "tuple", "Sequence", "dict", "Module", "Optimizer"}:
        return None
    return next((kind for kind in (float, bool, int, str) if kind.__name__ in words), None)


def _defaults(
    name: str, parameters: Mapping[str, Parameter], space: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """Return the attributes of a method that give its default settings, from the signature."""
    values = {k: parameters[k].default for k in space}
    if not values or any(v is None or v is Parameter.empty for v in values.values()):
        return {"default": None, "default_source": ""}
    typed = {k: parameters[k].annotation(v) for k, v in values.items()}
    library, _, kind = name.partition(":")
    return {"default": typed, "default_source": f"signature of {LIBRARIES[library]}.{kind}"}


def _distribution(key: str, kind: type, values: list[Any]) -> BaseDistribution:
    """Return the distribution of a hyper-parameter with the range or the choices of a study."""
    numbers = {float: (int, float), int: (int,)}.get(kind)
    allowed = numbers or (kind,)
    if not values or not all(type(value) in allowed for value in values):
        raise ValueError(f"{key} = {values}: must be values of the type {kind.__name__}")
    if numbers is None or len(values) != 2:
        if len(set(values)) < len(values):
            raise ValueError(f"{key} = {values}: a choice is listed twice")
        return CategoricalDistribution([kind(value) for value in values])
    low, high = map(kind, values)
    if not low < high:
        raise ValueError(f"{key} = {values}: the range is empty; the first value must be lower")
    is_log = bool(low > 0 and high >= _LOG_RATIO * low)
    if kind is int:
        return IntDistribution(low, high, log=is_log)
    return FloatDistribution(low, high, log=is_log)
