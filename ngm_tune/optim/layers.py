"""Selection of the layers that have a gain."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

Weighted = nn.Linear | nn.modules.conv._ConvNd
_NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear
"""The output projection of ``nn.MultiheadAttention``, whose ``forward`` is never called."""


def select_layers(
    model: nn.Module, layers: str | Iterable[str], output: str | None
) -> tuple[Weighted, list[Weighted]]:
    """Return the output layer and the gained layers.

    Args:
        model: The network.
        layers: ``"all"`` for all linear and convolutional layers, ``"output"`` for the output layer
            only, or names of modules.
        output: Name of the output layer. The default is the linear or convolutional layer that is
            registered last.

    Raises:
        ValueError: A name does not belong to a linear or convolutional layer, ``layers`` is empty,
            or the output layer has a single unit.
    """
    weighted = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Weighted) and not isinstance(module, _NEVER_CALLED)
    }
    if not weighted:
        raise ValueError(f"{type(model).__name__} has no linear or convolutional layer")

    def find(name: str, argument: str) -> Weighted:
        if name not in weighted:
            raise ValueError(
                f"{argument} names {name!r}, which is not a linear or convolutional layer of "
                f"{type(model).__name__}; its layers are {', '.join(map(repr, weighted))}"
            )
        return weighted[name]

    output_layer = find(output, "output") if output is not None else [*weighted.values()][-1]
    if count_units(output_layer) < 2:
        raise ValueError(
            "the output layer has a single unit, whose predictions have no entropy; name the layer "
            "that returns the logits with output=..."
        )
    if layers == "all":
        return output_layer, [*weighted.values()]
    if layers == "output":
        return output_layer, [output_layer]
    if isinstance(layers, str):
        raise ValueError(
            f"Invalid layers: {layers!r} (must be 'all', 'output' or a list of module names)"
        )
    gained = [*dict.fromkeys(find(name, "layers") for name in layers)]
    if not gained:
        raise ValueError("Invalid layers: an empty list (name at least one module)")
    return output_layer, gained


def count_units(layer: Weighted) -> int:
    """Return the number of output features or output channels of a layer."""
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def find_tied_modules(gained: list[Weighted], model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules without a gain that share the weight of a gained layer."""
    weights = {id(layer._parameters.get("weight")) for layer in gained}
    return tuple(
        name or type(model).__name__
        for name, module in model.named_modules()
        if module not in gained
        and any(p is not None and id(p) in weights for p in module._parameters.values())
    )
