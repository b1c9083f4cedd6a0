"""The NGM-SGD optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from ngm_tune.optim.defaults import load_defaults
from ngm_tune.optim.gain import NeuronalGain

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class NGMSGD(SGD):
    """Implements noradrenergic gain-modulated SGD (arXiv 2507.14056).

    The optimizer applies SGD to the weights W of a network that computes with ``g * W``. The gain g
    rises with the entropy of the network's predictions and decays to its baseline. A new task makes
    predictions uncertain, which temporarily raises the effective weights by g and their effective
    learning rate by g²::

        W_{t+1} = W_t - lr * dL/dW
        g_{t+1} = gamma * g_t + (1 - gamma) * g_0 + eta * H_t

    At a constant entropy H the gain settles at ``g_0 + eta * H / (1 - gamma)``. With
    ``gain_sensitivity=0`` and ``baseline_gain=1`` this is ``torch.optim.SGD``, bit for bit, as long
    as outputs are finite.

    The training loop needs no changes. A hook observes the logits that the model returns in
    training passes, and each ``step()`` updates the gain. Evaluation passes use the gain of the
    latest training pass and do not change it. ``state_dict()`` stores the gain in every parameter
    group, because distributed checkpoints keep values there that belong to no single parameter. Its
    settings can be changed in the first group, as ``param_groups[0]["gain_sensitivity"]``.

    If ``torch.distributed`` is initialised, the entropy is averaged over the predictions of all
    processes, so that the gain is equal in all of them, however the model is wrapped. All processes
    must then take equally many steps.

    Args:
        model: The network to train. All of its parameters are optimized. If it is wrapped in
            ``DistributedDataParallel``, layer names refer to the wrapped module.
        lr: Learning rate.
        gain_sensitivity: eta, the increase of the gain per nat of entropy and step.
        entropy_smoothing: gamma in [0, 1). The time constant of the gain is 1 / (1 - gamma) steps.
        baseline_gain: g_0 > 0, the initial gain, to which the gain decays.
        layers: The gained layers: ``"all"`` for all linear and convolutional layers, ``"output"``
            for the output layer only (the paper's choice for ResNets): the module ``output``, or
            the layer that is registered last; or a list of module names.
        output: Name of the module that returns the logits, or names of several whose predictions
            are pooled. By default the logits are what the model returns: a tensor, an attribute or
            key ``logits``, or the first tensor of a tuple that has two or more dimensions. Loops
            that change logits after the model has returned them call :meth:`observe`.
        backbone_momentum: Momentum of the parameters outside gained layers. The authors train
            ResNets with a gain on the output layer and a backbone momentum of 0.9.
        normalise_entropy: Divide the entropy by ln C. One ``gain_sensitivity`` then transfers
            between benchmarks with different numbers of classes.
        weight_decay: L2 penalty, as in ``torch.optim.SGD``.
        process_group: The processes over which the entropy is averaged. The default is the group of
            ``DistributedDataParallel`` if ``model`` is wrapped in it, else the default group.
        gain_buffer: Keep the gain in the model's ``state_dict``, as the buffer ``neuronal_gain``.
            The weights alone then describe the network. Models that load these weights need the
            buffer, too: see :func:`ngm_tune.attach_gain`. A model that has the buffer keeps it, and
            its gain starts from the values in it.

    Raises:
        TypeError: ``model`` is not a module, or its parameters are flattened.
        ValueError: A setting is out of range, a name does not belong to a module, or the
            ``forward`` of a gained layer is not that of a linear or convolutional layer.

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
        output: str | Iterable[str] | None = None,
        backbone_momentum: float = 0.0,
        normalise_entropy: bool = False,
        weight_decay: float = 0.0,
        process_group: ProcessGroup | None = None,
        gain_buffer: bool = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"NGMSGD takes the model, not its parameters: got a {type(model).__name__}"
            )
        if not 0.0 <= backbone_momentum < 1.0:
            raise ValueError(f"Invalid backbone momentum: {backbone_momentum} (must be in [0, 1))")
        self._replica = model if isinstance(model, DistributedDataParallel) else None
        self._process_group = _Shared(process_group)
        model = model if self._replica is None else self._replica.module
        _refuse_flat_parameters(model)
        _refuse_threads(model)
        modulation = NeuronalGain(
            model,
            sensitivity=gain_sensitivity,
            smoothing=entropy_smoothing,
            baseline=baseline_gain,
            layers=layers,
            output=output,
            normalise_entropy=normalise_entropy,
            buffer=gain_buffer,
        )
        try:
            gained, backbone = _split_parameters(model, modulation)
            groups: dict[str, dict[str, Any]] = {
                "gained": {"params": gained},
                "backbone": {"params": backbone, "momentum": backbone_momentum},
            }
            present = [role for role, group in groups.items() if group["params"]]
            super().__init__([groups[role] for role in present], lr=lr, weight_decay=weight_decay)
        except ValueError:
            modulation.remove()
            raise
        self.modulation = modulation
        self._share_gain()
        self._backbone_momentum = backbone_momentum
        self._groups = {role: number for number, role in enumerate(present)}
        self._follow_steps()

    def __repr__(self) -> str:
        self._follow_settings()
        self._share_gain()
        return f"{super().__repr__()}\nGain on {len(self.modulation.layers)} layers"

    def _share_gain(self) -> None:
        """Write the state of the gain into the parameter groups."""
        state = {f"gain_{key}": value for key, value in self.modulation.state_dict().items()}
        self.defaults.update(state)
        for group in self.param_groups:
            group.update(state)

    def _follow_settings(self) -> None:
        """Use the settings of the gain in the first parameter group, which code may change."""
        settings = self.modulation.settings
        given = {name: self.param_groups[0][f"gain_{name}"] for name in settings}
        if given != settings:
            self.modulation.configure(**given)

    def _follow_steps(self) -> None:
        def refuse_uneven_inputs(*_: object) -> None:
            # torch does not reset this flag when a join() has ended.
            known = self._replica is not None and self._replica._join_config.enable
            if known or self.modulation.observer.joins:
                raise RuntimeError(
                    "NGMSGD averages the entropy over all processes in every step, so it cannot be "
                    "used in or after a join() of DistributedDataParallel; give all processes "
                    "equally many batches"
                )

        def advance(*_: object) -> None:
            self._follow_settings()
            waits = self.modulation.observer.expects_pass
            # Distributed checkpoints initialise optimizers with steps of learning rate 0.
            trains = not waits or any(group["lr"] != 0.0 for group in self.param_groups)
            self.modulation.advance(self._processes(), expects_pass=trains)

        self.register_step_pre_hook(refuse_uneven_inputs)
        self.register_step_post_hook(advance)

    def _processes(self) -> ProcessGroup | None:
        """Return the processes over which the entropy is averaged; None if there is one process."""
        if not distributed.is_available() or not distributed.is_initialized():
            return None
        group = self._process_group.value
        if group is None:
            group = (
                distributed.group.WORLD if self._replica is None else self._replica.process_group
            )
        return group if distributed.get_world_size(group) > 1 else None

    def __getstate__(self) -> dict[str, Any]:
        names = ("modulation", "_replica", "_process_group", "_backbone_momentum", "_groups")
        extra = {name: getattr(self, name) for name in names}
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

    def observe(
        self, logits: Tensor, *, mask: Tensor | None = None, dim: int | None = None
    ) -> None:
        """Take the predictions of a training pass from the training loop, before ``step()``.

        For loops in which the predictions are not what a module returns, because the loop masks
        logits of other tasks, or because some positions are padding. The gain then follows these
        predictions only. Several calls pool their predictions.

        Args:
            logits: Logits of any shape.
            mask: Predictions that count: boolean, in the shape of ``logits`` without the class
                dimension. By default all count.
            dim: The class dimension. By default it is found from the layers of the model.

        Raises:
            ValueError: There is a single class, or the mask has another shape.
        """
        self.modulation.observer.observe(logits, mask=mask, dim=dim)

    def observe_entropy(self, entropy: Tensor) -> None:
        """Take the entropies of the predictions of a training pass, as :meth:`observe` does.

        For predictions whose probabilities are not a softmax, as in multi-label classification.

        Args:
            entropy: Entropies of any shape, in nats, or between 0 and 1 with ``normalise_entropy``.
        """
        self.modulation.observer.observe_entropy(entropy)

    def reattach(self) -> None:
        """Attach the gain to the modules that the model has now, and optimize their parameters.

        Call this after modules of the model were replaced or added, such as the head of a growing
        network. The gain keeps its value. Parameters that are no longer part of the model leave the
        optimizer; those of groups that you added stay.

        Raises:
            ValueError: As for the constructor. The gain then stays as it was.
        """
        self.modulation.attach()
        roles = _split_parameters(self.modulation.model, self.modulation)
        elsewhere = {
            id(p)
            for number, group in enumerate(self.param_groups)
            if number not in self._groups.values()
            for p in group["params"]
        }
        for role, parameters in zip(("gained", "backbone"), roles, strict=True):
            present = [p for p in parameters if id(p) not in elsewhere]
            if role in self._groups:
                self.param_groups[self._groups[role]]["params"] = present
            elif present:
                settings = {k: v for k, v in self.param_groups[0].items() if k != "params"}
                momentum = 0.0 if role == "gained" else self._backbone_momentum
                self._groups[role] = len(self.param_groups)
                self.add_param_group({**settings, "params": present, "momentum": momentum})
        kept = {p for group in self.param_groups for p in group["params"]}
        for parameter in [p for p in self.state if p not in kept]:
            del self.state[parameter]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of SGD, with the state of the gain in every parameter group."""
        self._follow_settings()
        self._share_gain()
        if self.state:  # distributed checkpoints then expect the state of every parameter
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state.setdefault(parameter, {})
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`.

        Raises:
            ValueError: ``state_dict`` lacks the gain or a part of its state.
        """
        names = {f"gain_{key}": key for key in self.modulation.state_dict()}
        if not all(names.keys() <= group.keys() for group in state_dict["param_groups"]):
            raise ValueError("state_dict holds no gain: it is not the state of an NGMSGD optimizer")
        super().load_state_dict(state_dict)
        group = self.param_groups[0]
        self.modulation.load_state_dict({key: group[name] for name, key in names.items()})


class _Shared(NamedTuple):
    """A process group, which copies of an optimizer share."""

    value: ProcessGroup | None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def _split_parameters(
    model: nn.Module, modulation: NeuronalGain
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters of gained layers, and all others."""
    in_gained = {id(p) for layer in modulation.layers for p in layer.parameters()}
    gained = [p for p in model.parameters() if id(p) in in_gained]
    return gained, [p for p in model.parameters() if id(p) not in in_gained]


def _refuse_flat_parameters(model: nn.Module) -> None:
    if any(getattr(parameter, "_is_flat_param", False) for parameter in model.parameters()):
        raise TypeError(
            "FullyShardedDataParallel has flattened the parameters of gained and other layers into "
            "one; build it with use_orig_params=True, or use fully_shard"
        )


def _refuse_threads(model: nn.Module) -> None:
    if any(isinstance(m, nn.DataParallel) and len(m.device_ids) > 1 for m in model.modules()):
        raise TypeError(
            "nn.DataParallel runs copies of the model in several threads, which cannot share one "
            "gain; use DistributedDataParallel"
        )
