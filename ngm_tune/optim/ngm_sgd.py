"""The NGM-SGD optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from ngm_tune.optim.defaults import load_defaults
from ngm_tune.optim.gain import NeuronalGain
from ngm_tune.optim.layers import select_layers


class NGMSGD(SGD):
    """Implements noradrenergic gain-modulated SGD (arXiv 2507.14056).

    The optimizer applies SGD to the weights W of a network that computes with ``g * W``. The gain g
    rises with the entropy of the network's predictions and decays to its baseline. A new task makes
    predictions uncertain, which temporarily raises the effective weights by g and their effective
    learning rate by g²::

        W_{t+1} = W_t - lr * dL/dW
        g_{t+1} = gamma * g_t + (1 - gamma) * g_0 + eta * H_t

    At a constant entropy H the gain settles at ``g_0 + eta * H / (1 - gamma)``. With
    ``gain_sensitivity=0`` and ``baseline_gain=1`` this is ``torch.optim.SGD``, bit for bit.

    The training loop needs no changes. A hook on the output layer observes the logits of training
    passes, and each ``step()`` updates the gain. Evaluation passes use the gain of the latest
    training pass and do not change it. ``state_dict()`` stores the gain in every parameter group,
    because distributed checkpoints keep values there that belong to no single parameter.

    Args:
        model: The network to train. All of its parameters that require gradients are optimized. If
            it is wrapped in ``DistributedDataParallel``, pass the wrapper: the entropy is then
            averaged over the whole batch, and the gain is equal in all processes. Layer names refer
            to the wrapped module.
        lr: Learning rate.
        gain_sensitivity: eta, the increase of the gain per nat of entropy and step.
        entropy_smoothing: gamma in [0, 1). The time constant of the gain is 1 / (1 - gamma) steps.
        baseline_gain: g_0 > 0, the initial gain, to which the gain decays.
        layers: The gained layers: ``"all"`` for all linear and convolutional layers, ``"output"``
            for the output layer only (the paper's choice for ResNets), or a list of module names.
        output: Name of the module that returns the logits. The default is the linear or
            convolutional layer that is registered last.
        backbone_momentum: Momentum of the parameters outside gained layers. The authors train
            ResNets with a gain on the output layer and a backbone momentum of 0.9.
        normalise_entropy: Divide the entropy by ln C. One ``gain_sensitivity`` then transfers
            between benchmarks with different numbers of classes.
        weight_decay: L2 penalty, as in ``torch.optim.SGD``.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: A setting is out of range, a name does not belong to a linear or convolutional
            layer, or the output layer has a single unit.

    Example:
        >>> import torch
        >>> from ngm_tune import NGMSGD
        >>> model = torch.nn.Linear(4, 3, bias=False)
        >>> optimizer = NGMSGD(model, lr=0.1, gain_sensitivity=0.4, entropy_smoothing=0.9)
        >>> loss = torch.nn.functional.cross_entropy(model(torch.zeros(2, 4)), torch.tensor([0, 1]))
        >>> loss.backward()
        >>> optimizer.step()
        >>> logits = model(torch.zeros(2, 4))  # the next training pass uses the new gain
        >>> round(optimizer.gain.item(), 4)  # 1 + 0.4 * ln 3
        1.4394
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float | Tensor = 1e-2,
        *,
        gain_sensitivity: float = 0.4,
        entropy_smoothing: float = 0.9,
        baseline_gain: float = 1.0,
        layers: str | Iterable[str] = "all",
        output: str | None = None,
        backbone_momentum: float = 0.0,
        normalise_entropy: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"NGMSGD takes the model, not its parameters: got a {type(model).__name__}"
            )
        if not 0.0 <= backbone_momentum < 1.0:
            raise ValueError(f"Invalid backbone momentum: {backbone_momentum} (must be in [0, 1))")
        layers = layers if isinstance(layers, str) else list(layers)
        self._replica = model if isinstance(model, DistributedDataParallel) else None
        model = model if self._replica is None else self._replica.module
        _, gained_layers = select_layers(model, layers, output)
        in_gained = {id(p) for layer in gained_layers for p in layer.parameters()}
        trainable = [p for p in model.parameters() if p.requires_grad]
        gained = [p for p in trainable if id(p) in in_gained]
        backbone = [p for p in trainable if id(p) not in in_gained]
        groups: list[dict[str, Any]] = [
            {"params": gained},
            {"params": backbone, "momentum": backbone_momentum},
        ]
        super().__init__(
            [group for group in groups if group["params"]], lr=lr, weight_decay=weight_decay
        )
        self.modulation = NeuronalGain(
            model,
            sensitivity=gain_sensitivity,
            smoothing=entropy_smoothing,
            baseline=baseline_gain,
            layers=layers,
            output=output,
            normalise_entropy=normalise_entropy,
        )
        self._follow_steps()

    def __repr__(self) -> str:
        gain = self.modulation
        settings = (
            f"gain_sensitivity={gain.sensitivity}, entropy_smoothing={gain.smoothing}, "
            f"baseline_gain={gain.baseline}, normalise_entropy={gain.normalise_entropy}"
        )
        return f"{super().__repr__()}\nGain on {len(gain.layers)} layers: {settings}"

    def _follow_steps(self) -> None:
        def advance(*_: object) -> None:
            self.modulation.advance(None if self._replica is None else self._replica.process_group)

        self.register_step_post_hook(advance)

    def __getstate__(self) -> dict[str, Any]:
        extra = {"modulation": self.modulation, "_replica": self._replica}
        return {**super().__getstate__(), **extra}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        # Optimizer.load_state_dict also calls this method, with a state that has no modulation.
        if "modulation" in state:
            self._follow_steps()

    @classmethod
    def from_defaults(
        cls,
        model: nn.Module,
        benchmark: str | None = None,
        *,
        path: str | PathLike[str] | None = None,
        **overrides: Any,
    ) -> Self:
        """Build the optimizer with the tuned hyper-parameters of a study.

        Args:
            model: The network to train.
            benchmark: Name of the benchmark, e.g. ``"split-digits"``. Optional if the file has one
                benchmark only.
            path: A file written by ``ngm-tune defaults``. The default is the file shipped with
                ngm-tune.
            **overrides: Arguments of the constructor that replace values of the file.

        Raises:
            ValueError: The file is not a defaults file, or has no entry for the benchmark.
            FileNotFoundError: ``path`` does not exist.
        """
        settings = load_defaults("ngm-sgd", benchmark, path)
        return cls(model, **{**settings, **overrides})

    @property
    def gain(self) -> Tensor:
        """g_t, the gain of the latest training pass; a scalar tensor."""
        return self.modulation.value

    def state_dict(self) -> dict[str, Any]:
        """Return the state of SGD, with the state of the gain in every parameter group."""
        state = super().state_dict()
        gain = {f"gain_{key}": value for key, value in self.modulation.state_dict().items()}
        return {**state, "param_groups": [{**group, **gain} for group in state["param_groups"]]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`.

        Raises:
            ValueError: ``state_dict`` lacks the gain or a part of its state.
        """
        names = {f"gain_{key}": key for key in self.modulation.state_dict()}
        groups = state_dict["param_groups"]
        if not all(names.keys() <= group.keys() for group in groups):
            raise ValueError("state_dict holds no gain: it is not the state of an NGMSGD optimizer")
        plain = [{k: v for k, v in group.items() if k not in names} for group in groups]
        super().load_state_dict({**state_dict, "param_groups": plain})
        self.modulation.load_state_dict({key: groups[0][name] for name, key in names.items()})
