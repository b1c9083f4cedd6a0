"""Which layers of a network have a gain."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

Weighted = nn.Linear | nn.modules.conv._ConvNd
_NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear
"""The output projection of ``nn.MultiheadAttention``."""


def select_layers(
    model: nn.Module, layers: str | Iterable[str], output: str | None
) -> tuple[Weighted, list[Weighted]]:
    """The output layer and the gained layers that the names stand for.

    Args:
        model: The network.
        layers: ``"all"``, ``"output"``, or names of modules.
        output: Name of the output layer; by default the one registered last.

    Raises:
        ValueError: A name is not that of a linear or convolutional layer.
    """
    weighted = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Weighted) and not isinstance(module, _NEVER_CALLED)
    }
    if not weighted:
        raise ValueError(f"{type(model).__name__} has no linear or convolutional layer to gain")

    def find(name: str, argument: str) -> Weighted:
        if name not in weighted:
            raise ValueError(
                f"{argument} names {name!r}, which is no linear or convolutional layer of "
                f"{type(model).__name__}; those are {', '.join(map(repr, weighted))}"
            )
        return weighted[name]

    output_layer = find(output, "output") if output is not None else [*weighted.values()][-1]
    if units(output_layer) < 2:
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


def units(layer: Weighted) -> int:
    """The outputs of a layer, or its output channels."""
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def layers_with_weights_of(gained: list[Weighted], model: nn.Module) -> tuple[str, ...]:
    """The modules without gain that hold the weight of a gained layer, by name."""
    weights = {id(layer._parameters.get("weight")) for layer in gained}
    return tuple(
        name or type(model).__name__
        for name, module in model.named_modules()
        if module not in gained
        and any(p is not None and id(p) in weights for p in module._parameters.values())
    )
