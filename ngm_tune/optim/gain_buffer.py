"""A buffer for the gain, which makes it part of the model's ``state_dict``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ngm_tune.optim.layers import Weighted, weighted_layers

NAME = "neuronal_gain"
"""Name of the buffer."""


class GainBuffer:
    """A buffer of a module with the gains of its layers.

    Row 0 holds g_t and row 1 g_{t+1}, with one column for each linear and convolutional layer of
    the module, in the order of ``named_modules()``. Layers without a gain have 1. The buffer thus
    tells which layers have a gain.

    Args:
        owner: The module that gets the buffer.
        gained: The layers with a gain.

    Raises:
        ValueError: A gained layer is not a layer of ``owner``.
    """

    def __init__(self, owner: nn.Module, gained: Iterable[Weighted]) -> None:
        layers = dict(weighted_layers(owner))
        chosen = set(gained)
        if not chosen <= set(layers.values()):
            raise ValueError(
                f"the gain is kept in a buffer of {type(owner).__name__}, which does not contain "
                "all gained layers; attach the gain to a module that does"
            )
        self.owner = owner
        self._names = list(layers)
        self._gained = [layer in chosen for layer in layers.values()]
        self._column = self._gained.index(True)
        self._mask = torch.tensor(self._gained, device=next(iter(chosen)).weight.device)

    def register(self) -> None:
        """Add the buffer to the module."""
        gains = torch.ones(2, len(self._names), device=self._mask.device)
        self.owner.register_buffer(NAME, gains)

    def is_used(self) -> bool:
        """Whether the buffer has held other gains than 1, those of a network without a gain."""
        return bool((self._tensor != 1.0).any())

    def require_layers_of(self, former: GainBuffer) -> None:
        """Check that the layers that had a gain have one in this buffer, if they still exist.

        Raises:
            ValueError: They have none.
        """
        trained = _select(former._names, former._tensor)
        without = {n for n, gained in zip(self._names, self._gained, strict=True) if not gained}
        if lost := [name for name in trained if name in without]:
            raise ValueError(
                f"the weights of {', '.join(map(repr, lost))} were trained with a gain; name these "
                "layers in layers=..."
            )

    def read(self) -> tuple[Tensor, Tensor]:
        """Return g_t and g_{t+1}, scalars."""
        pair = self._tensor[:, self._column].to(torch.float32, copy=True)
        return pair[0], pair[1]

    def write(self, value: Tensor, following: Tensor) -> None:
        """Store g_t and g_{t+1}."""
        buffer = self._tensor
        if buffer.dtype != torch.float32:  # the model was converted, such as by ``half()``
            buffer = self.owner._buffers[NAME] = buffer.float()
        self._mask = self._mask.to(buffer.device)
        buffer.copy_(torch.where(self._mask, torch.stack((value, following))[:, None], 1.0))

    def check(self) -> None:
        """Check that the gains that were loaded belong to the gained layers.

        Raises:
            RuntimeError: They do not.
        """
        buffer = self._tensor.cpu()
        mask = torch.tensor(self._gained)
        if not torch.equal(buffer, torch.where(mask, buffer[:, self._column, None], 1.0)):
            loaded = _select(self._names, buffer)
            attached = [n for n, gained in zip(self._names, self._gained, strict=True) if gained]
            raise RuntimeError(
                f"the loaded weights have a gain on {', '.join(map(repr, loaded))}, and the model "
                f"has one on {', '.join(map(repr, attached))}; name the layers in layers=..."
            )

    def remove(self) -> None:
        """Remove the buffer from the module."""
        self.owner._buffers.pop(NAME, None)

    @property
    def _tensor(self) -> Tensor:
        buffer = self.owner._buffers[NAME]
        assert buffer is not None
        return buffer


def find_gains(state_dict: Mapping[str, Tensor]) -> tuple[str, Tensor]:
    """Return the name of the module that owns the gain in a model's ``state_dict``, and the gains.

    Raises:
        ValueError: The state has no gain, or several.
    """
    keys = [key for key in state_dict if key.rpartition(".")[2] == NAME]
    if len(keys) != 1:
        raise ValueError(
            f"the weights hold {len(keys) or 'no'} entries {NAME!r}; those of a model that was "
            "trained with NGMSGD(..., gain_buffer=True) hold one"
        )
    return keys[0].rpartition(".")[0], state_dict[keys[0]]


def names_of_gained(owner: nn.Module, gains: Tensor) -> list[str]:
    """Return the names of the layers of a module that have a gain in a buffer.

    Raises:
        ValueError: The buffer is that of a module with another number of layers.
    """
    names = [name for name, _ in weighted_layers(owner)]
    if gains.shape != (2, len(names)):
        raise ValueError(
            f"the weights hold gains of shape {tuple(gains.shape)}, and {type(owner).__name__} has "
            f"{len(names)} linear and convolutional layers"
        )
    return _select(names, gains)


def _select(names: Iterable[str], gains: Tensor) -> list[str]:
    return [name for name, column in zip(names, gains.T, strict=True) if (column != 1.0).any()]
