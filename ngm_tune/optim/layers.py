"""Selection of the layers that have a gain."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

Weighted = nn.Linear | nn.modules.conv._ConvNd
"""A layer that is linear in its weight; also ``Conv1D`` of GPT-2, which needs no import."""

_PLAIN = (
    nn.Linear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
_NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear
"""The output projection of ``nn.MultiheadAttention``, whose ``forward`` is never called."""
_WITHOUT_GAIN = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.Bilinear)
"""Modules with weights that act in other ways than by the ``forward`` of a layer."""


def select_layers(
    model: nn.Module, layers: str | Iterable[str], output: str | None
) -> list[Weighted]:
    """Return the gained layers.

    Args:
        model: The network.
        layers: ``"all"`` for all linear and convolutional layers, ``"output"`` for the output layer
            only, or names of modules.
        output: Name of the output layer for ``"output"``. The default is the linear or
            convolutional layer that is registered last.

    Raises:
        ValueError: A name does not belong to a linear or convolutional layer, ``layers`` is empty,
            or the ``forward`` of a selected layer is not that of torch.
    """
    weighted = dict(weighted_layers(model))
    if not weighted:
        raise ValueError(f"{type(model).__name__} has no linear or convolutional layer")

    def find(name: str, argument: str) -> Weighted:
        if name not in weighted:
            raise ValueError(
                f"{argument} names {name!r}, which is not a linear or convolutional layer of "
                f"{type(model).__name__}; its layers are {', '.join(map(repr, weighted))}"
            )
        return weighted[name]

    if layers == "all":
        gained = [*weighted.values()]
        _warn_of_modules_without_gain(model)
    elif layers == "output":
        gained = [[*weighted.values()][-1] if output is None else find(output, "output")]
    elif isinstance(layers, str):
        raise ValueError(
            f"Invalid layers: {layers!r} (must be 'all', 'output' or a list of module names)"
        )
    else:
        gained = [*dict.fromkeys(find(name, "layers") for name in layers)]
    if not gained:
        raise ValueError("Invalid layers: an empty list (name at least one module)")
    for name, layer in weighted.items():
        if layer in gained:
            _require_linear_forward(name, layer)
    return gained


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, Weighted]]:
    """Yield the linear and convolutional layers of a network by name."""
    for name, module in model.named_modules():
        if (
            isinstance(module, _PLAIN) and not isinstance(module, _NEVER_CALLED)
        ) or _is_conv1d_of_gpt2(module):
            yield name, cast("Weighted", module)


def _is_conv1d_of_gpt2(module: nn.Module) -> bool:
    """Whether a module is the linear layer of GPT-2 in transformers, with a transposed weight."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def _require_linear_forward(name: str, layer: Weighted) -> None:
    for kind in _PLAIN:
        if isinstance(layer, kind) and type(layer).forward is not kind.forward:
            raise ValueError(
                f"the forward of {name!r} ({type(layer).__name__}) is not that of "
                f"{kind.__name__}, so its output need not be linear in its weight; name the gained "
                "layers without it in layers=[...]"
            )


def _warn_of_modules_without_gain(model: nn.Module) -> None:
    without = [
        f"{name or 'the model'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if isinstance(module, _WITHOUT_GAIN)
    ]
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        warnings.warn(
            f"weights without a gain: {', '.join(without[:3])}{more}; the gain acts on linear and "
            "convolutional layers only",
            stacklevel=6,
        )


def spatial_dimensions(layer: Weighted) -> int:
    """Return the number of spatial dimensions of a layer's output."""
    return len(layer.kernel_size) if isinstance(layer, nn.modules.conv._ConvNd) else 0


def count_units(layer: Weighted) -> int:
    """Return the number of output features or output channels of a layer."""
    for name in ("out_features", "out_channels", "nf"):
        if hasattr(layer, name):
            return int(getattr(layer, name))
    raise AssertionError(f"{type(layer).__name__} is not a weighted layer")


class Places:
    """The places of layers in a model, and of the modules that contain them."""

    def __init__(self, model: nn.Module, layers: Iterable[nn.Module]) -> None:
        chosen = set(layers)
        modules = dict(model.named_modules(remove_duplicate=False))
        paths = [name.split(".") for name, module in modules.items() if module in chosen]
        prefixes = {".".join(path[:end]) for path in paths for end in range(1, len(path) + 1)}
        prefixes.discard("")
        self._model = model
        self._places = [
            (name, modules[name.rpartition(".")[0]], name.rpartition(".")[2], modules[name])
            for name in prefixes
        ]

    def find_replaced(self) -> str | None:
        """Return the name of a module that is no longer part of the model; None if all are."""
        replaced = [
            name
            for name, parent, key, module in self._places
            if parent._modules.get(key) is not module
        ]
        if replaced:  # but a module that was wrapped is still there
            present = set(self._model.modules())
            replaced = [name for name, _, _, module in self._places if module not in present]
        return min(replaced, key=len, default=None)


@torch.no_grad()
def multiply_weights(layers: Iterable[Weighted], factor: Tensor, model: nn.Module) -> None:
    """Multiply the weights of layers of a model by a factor, in place.

    Raises:
        RuntimeError: A weight is computed from other parameters, as by
            ``torch.nn.utils.parametrizations``, or is shared with a module that is not a layer of
            these, such as an embedding.
    """
    layers = list(layers)
    for layer in layers:
        if "weight" not in layer._parameters:
            raise RuntimeError(
                f"the weight of {layer} is computed from other parameters, into which the gain "
                "cannot be multiplied; remove the parametrization first"
            )
    if tied := _find_tied_modules(layers, model):
        raise RuntimeError(
            f"a gained layer shares its weight with {', '.join(tied)}, which has no gain and would "
            "be multiplied as well; give one of them a copy of the weight, and build the gain "
            "after that"
        )
    for weight in dict.fromkeys(layer.weight for layer in layers):  # shared weights once
        weight.mul_(factor)


def _find_tied_modules(gained: list[Weighted], model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules without a gain that share the weight of a gained layer."""
    weights = {id(layer._parameters.get("weight")) for layer in gained}
    return tuple(
        name or type(model).__name__
        for name, module in model.named_modules()
        if module not in gained
        and any(p is not None and id(p) in weights for p in module._parameters.values())
    )
