"""The gain of a model that is loaded without an optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from ngm_tune.optim.gain import NeuronalGain
from ngm_tune.optim.gain_buffer import NAME, find_gains, names_of_gained


def attach_gain(
    model: nn.Module,
    state_dict: Mapping[str, Tensor] | None = None,
    *,
    layers: str | Iterable[str] = "all",
) -> NeuronalGain:
    """Attach a gain to a model for weights that were trained with ``NGMSGD(gain_buffer=True)``.

    The model gets the buffer ``neuronal_gain``, and computes with the gain in it. Without an
    optimizer the gain is constant. Call this before ``model.load_state_dict(weights)``, for
    instance in the constructor of the model. Or pass the weights here as well, after the model has
    loaded the others. :class:`~ngm_tune.NGMSGD` keeps the buffer and continues from its gain.

    Args:
        model: The network.
        state_dict: Weights that contain the gain. The gained layers are those of these weights.
        layers: Without ``state_dict``: the gained layers, as for :class:`~ngm_tune.NGMSGD`. They
            must be those of the training.

    Returns:
        The gain. ``fold()`` multiplies it into the weights, for export.

    Raises:
        ValueError: The weights contain no gain, or that of a model with other layers, or ``layers``
            is invalid.

    Example:
        >>> import torch
        >>> from ngm_tune import NGMSGD, attach_gain
        >>> model, loaded = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
        >>> optimizer = NGMSGD(model, baseline_gain=2.0, gain_buffer=True)
        >>> gain = attach_gain(loaded)
        >>> loaded.load_state_dict(model.state_dict())
        <All keys matched successfully>
        >>> gain.value
        tensor(2.)
    """
    if state_dict is None:
        return NeuronalGain(model, sensitivity=0.0, smoothing=0.0, layers=layers, buffer=True)
    name, gains = find_gains(state_dict)
    owner = dict(model.named_modules()).get(name, model)  # the name of a wrapped model differs
    names = names_of_gained(owner, gains)
    gain = NeuronalGain(owner, sensitivity=0.0, smoothing=0.0, layers=names or "all", buffer=True)
    owner.load_state_dict({NAME: gains}, strict=False)
    return gain
