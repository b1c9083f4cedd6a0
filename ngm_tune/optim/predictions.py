"""The predictions of a network: which calls are training passes, and where their logits are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import CheckpointFunction

from ngm_tune.optim.layers import Weighted, count_units, spatial_dimensions


def predictive_entropy(logits: Tensor, dim: int = -1) -> Tensor:
    """Compute the entropy of the softmax of ``logits``.

    Args:
        logits: Unnormalised log-probabilities, classes along ``dim``.
        dim: The class dimension.

    Returns:
        Entropies in nats, from 0 to ln C. The shape is that of ``logits`` without ``dim``. Inputs
        in half precision give float32.
    """
    probabilities, dim = _softmax(logits, dim)
    entropy: Tensor = torch.special.entr(probabilities).sum(dim)
    return entropy


def total_entropy(logits: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Compute the sum of the entropies of predictions, and how many predictions these are.

    Predictions with NaN are left out.

    Args:
        logits: Unnormalised log-probabilities, classes along ``dim``.
        dim: The class dimension.

    Returns:
        The sum in nats and the number, both scalars.
    """
    probabilities, _ = _softmax(logits, dim)
    # The probabilities of a prediction sum to 1. Each operation counts in small networks.
    return torch.special.entr(probabilities).nansum(), probabilities.nansum()


def _softmax(logits: Tensor, dim: int) -> tuple[Tensor, int]:
    """Return probabilities, and their class dimension."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if logits.size(dim) < 16:  # torch is slow along a short last dimension
        logits, dim = logits.movedim(dim, 0), 0
    return logits.softmax(dim), dim


def is_training_pass(module: nn.Module) -> bool:
    """Whether a call of a module that is running is part of a training pass.

    It is if the module is in training mode and gradients are enabled. The recomputation of a
    checkpointed module in the backward pass is part of no new pass. With reentrant checkpoints,
    the first computation has no gradients, and is part of the pass.
    """
    if not module.training:
        return False
    if torch.compiler.is_compiling():
        return torch.is_grad_enabled()
    if torch._C._current_graph_task_id() != -1:  # in the backward pass
        return False
    return torch.is_grad_enabled() or _is_checkpointed()


def _is_checkpointed() -> bool:
    """Whether this code runs in the first computation of a reentrant checkpoint."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is CheckpointFunction.forward.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def is_transformed(values: Tensor) -> bool:
    """Whether a tensor belongs to a ``torch.func`` transform, which it must not outlive."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(
        values
    )


def is_joining() -> bool:
    """Whether a ``DistributedDataParallel`` runs that was used in a ``join()``, now or before."""
    if torch.compiler.is_compiling():
        return False
    replica = DistributedDataParallel._active_ddp_module
    return replica is not None and replica._join_config.enable


def is_transforming() -> bool:
    """Whether this code runs in a ``torch.func`` transform, in which tensors must not change."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is not None
    )


def find_logits(returned: Any) -> Tensor | None:
    """Return the logits in what a module returns; None if there are none.

    They are a floating-point tensor with at least one dimension: the value itself, its attribute or
    key ``logits``, or one in a tuple or list, of which the first with two dimensions is preferred.
    """
    if isinstance(returned, Tensor):
        if not returned.dim() or not returned.is_floating_point():
            return None
        return torch.cat(list(returned.unbind())) if returned.is_nested else returned
    if isinstance(returned, Mapping):
        return find_logits(returned.get("logits"))
    if isinstance(getattr(returned, "logits", None), Tensor):
        return find_logits(returned.logits)
    if isinstance(returned, tuple | list):
        found = [logits for part in returned if (logits := find_logits(part)) is not None]
        return next((logits for logits in found if logits.dim() > 1), found[0] if found else None)
    return None


def class_dimension(logits: Tensor, layers: Iterable[Weighted]) -> int | None:
    """Return the class dimension of logits, counted from the end; None if there is none.

    Args:
        logits: Logits of any shape.
        layers: The layers that may compute them, the likeliest first. The first one decides whose
            number of units is the size of its own class dimension (the last one of a linear layer,
            the one before the spatial dimensions of a convolution), or of exactly one dimension
            after the batch. Without such a layer, it is the second of four or more dimensions, and
            the last of two or three; a vector then has no class dimension.
    """
    for layer in layers:
        units, own = count_units(layer), -1 - spatial_dimensions(layer)
        if logits.dim() >= -own and logits.size(own) == units:
            return own
        matching = [-axis for axis in range(1, logits.dim()) if logits.size(-axis) == units]
        if len(matching) == 1:
            return matching[0]
    if logits.dim() < 2:
        return None
    return 1 - logits.dim() if logits.dim() >= 4 else -1
