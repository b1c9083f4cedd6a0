"""NGM-SGD with distributed data parallelism and distributed checkpoints."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    loss_parallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ngm_tune import NGMSGD

from .test_ngm_sgd import step, tiny

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

X = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(1))
Y = torch.arange(8) % 2


def optimizer_of(model: nn.Module) -> NGMSGD:
    return NGMSGD(model, lr=0.1, gain_sensitivity=0.5, layers=["2"], backbone_momentum=0.9)


def train(rank: int, processes: int, folder: Path, wrapped_first: bool) -> None:
    """Do five steps on this process's part of the batches, the last two with deep copies."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes
    )
    network = tiny()
    if wrapped_first:
        model = DistributedDataParallel(network)
        optimizer = optimizer_of(model)
    else:  # as Lightning, Accelerate and the Trainer of transformers do
        optimizer = optimizer_of(network)
        model = DistributedDataParallel(network)
    for x in X[:3]:
        step(model, optimizer, x[rank::processes], Y[rank::processes])
    model, optimizer = copy.deepcopy((model, optimizer))
    for x in X[3:]:
        step(model, optimizer, x[rank::processes], Y[rank::processes])
    average = AveragedModel(model)  # copies the network with its hooks
    results = {
        "weights": model.module.state_dict(),
        "gain": optimizer.modulation.state_dict(),
        "logits": average.eval()(X[0]).detach(),
    }
    torch.save(results, folder / f"{rank}.pt")
    if wrapped_first:
        with pytest.raises(RuntimeError, match="cannot be used in or after"), model.join():
            optimizer.step()
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("wrapped_first", [True, False])
def test_replicas_share_the_gain_of_the_whole_batch(tmp_path: Path, wrapped_first: bool) -> None:
    torch.multiprocessing.spawn(train, (2, tmp_path, wrapped_first), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    model = tiny()
    optimizer = optimizer_of(model)
    for x in X:
        step(model, optimizer, x, Y)
    alone = {
        "weights": model.state_dict(),
        "gain": optimizer.modulation.state_dict(),
        "logits": model.eval()(X[0]).detach(),
    }
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    torch.testing.assert_close(one, alone)
    assert alone["gain"]["value"] > 1.5


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_distributed_checkpoints_keep_the_gain(
    tmp_path: Path, flatten: bool, momentum: float
) -> None:
    model, other = tiny(), tiny()
    settings = {"layers": ["2"], "backbone_momentum": momentum}
    optimizer = NGMSGD(model, lr=0.1, **settings)  # type: ignore[arg-type]
    another = NGMSGD(other, lr=0.2, gain_sensitivity=0.0, **settings)  # type: ignore[arg-type]
    options = StateDictOptions(flatten_optimizer_state_dict=flatten)

    def state_of(model: nn.Module, optimizer: NGMSGD) -> dict[str, Any]:
        both = get_state_dict(model, optimizer, options=options)
        return dict(zip(("model", "optimizer"), both, strict=True))

    for x in X:
        step(model, optimizer, x, Y)
    checkpoint.save(state_of(model, optimizer), checkpoint_id=tmp_path, no_dist=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        loaded = state_of(other, another)
        checkpoint.load(loaded, checkpoint_id=tmp_path, no_dist=True)
        set_state_dict(
            other,
            another,
            model_state_dict=loaded["model"],
            optim_state_dict=loaded["optimizer"],
            options=options,
        )
        state_of(other, another)
    step(model, optimizer, X[0], Y)
    step(other, another, X[0], Y)
    assert another.gain.item() == optimizer.gain.item() > 1.5
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def sharded(model: nn.Sequential, mesh: DeviceMesh) -> nn.Module:
    """Apply FSDP2 as torch documents it: first to the layers, then to the whole model."""
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def split(model: nn.Sequential, mesh: DeviceMesh) -> nn.Module:
    """Apply tensor parallelism to pairs of layers."""
    return parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def with_distributed_logits(model: nn.Sequential, mesh: DeviceMesh) -> nn.Module:
    """Leave the logits distributed over their classes, as for a loss that is parallel, too."""
    return parallelize_module(model, mesh, {"2": ColwiseParallel(use_local_output=False)})


def whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def train_distributed(
    apply: Callable[[nn.Sequential, DeviceMesh], nn.Module], mesh: DeviceMesh
) -> None:
    """Train with distributed parameters, and compare with a plain loop over the whole batches."""
    rank, processes = mesh.get_local_rank(), mesh.size()
    plain = tiny()
    model = apply(tiny(), mesh)
    reference, optimizer = optimizer_of(plain), optimizer_of(model)
    mine = slice(rank, None, processes) if apply is sharded else slice(None)
    for x in X:
        step(plain, reference, x, Y)
        with loss_parallel() if apply is with_distributed_logits else nullcontext():
            step(model, optimizer, x[mine], Y[mine])
    assert reference.gain > 1.5
    torch.testing.assert_close(optimizer.gain, reference.gain)
    weights = {name: whole(value) for name, value in model.state_dict().items()}
    torch.testing.assert_close(weights, dict(plain.state_dict()))
    logits = plain.eval()(X[0])
    torch.testing.assert_close(whole(model.eval()(X[0])), logits)
    if apply is not with_distributed_logits:
        state = optimizer.state_dict()
        optimizer.modulation.fold()
        torch.testing.assert_close(model(X[0]), logits)
        NGMSGD(model, layers=["2"]).load_state_dict(state)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[DeviceMesh]:
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.parametrize("apply", [sharded, split, with_distributed_logits])
def test_distributed_parameters_are_trained(
    one_process: DeviceMesh, apply: Callable[[nn.Sequential, DeviceMesh], nn.Module]
) -> None:
    train_distributed(apply, one_process)


def in_two_processes(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    mesh = init_device_mesh("cpu", (2,))
    for apply in (sharded, split, with_distributed_logits):
        train_distributed(apply, mesh)
    resume_sharded(mesh, folder)
    distributed.destroy_process_group()


def resume_sharded(mesh: DeviceMesh, folder: Path) -> None:
    """Save and load a sharded model with its gain in a buffer, in torch's standard way."""

    def build(sensitivity: float) -> tuple[nn.Module, NGMSGD]:
        model = sharded(tiny(), mesh)
        return model, NGMSGD(model, lr=0.1, gain_sensitivity=sensitivity, gain_buffer=True)

    model, optimizer = build(0.5)
    for x in X:
        step(model, optimizer, x, Y)
    saved = dict(zip("mo", get_state_dict(model, optimizer), strict=True))
    checkpoint.save(saved, checkpoint_id=folder / "checkpoint")

    other, another = build(0.0)
    loaded = dict(zip("mo", get_state_dict(other, another), strict=True))
    checkpoint.load(loaded, checkpoint_id=folder / "checkpoint")
    set_state_dict(other, another, model_state_dict=loaded["m"], optim_state_dict=loaded["o"])
    assert torch.equal(step(other, another, X[0], Y), step(model, optimizer, X[0], Y))
    assert another.gain.item() == optimizer.gain.item() > 1.5


@pytest.mark.slow
def test_distributed_parameters_are_trained_in_two_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(in_two_processes, (tmp_path,), nprocs=2)


def test_flattened_parameters_are_refused(one_process: DeviceMesh) -> None:
    with warnings.catch_warnings(action="ignore"):  # torch advises against this class
        flat = FullyShardedDataParallel(tiny(), device_id=torch.device("cpu"))
    with pytest.raises(TypeError, match="has flattened the parameters of gained and other layers"):
        NGMSGD(flat)


def test_uneven_inputs_are_refused(one_process: DeviceMesh) -> None:
    """An optimizer that was built before the model was wrapped notices the wrapper, too."""
    network = tiny()
    before = optimizer_of(network)
    model = DistributedDataParallel(network)
    step(model, before, X[0], Y)
    with model.join(), pytest.raises(RuntimeError, match="cannot be used in or after a join"):
        step(model, before, X[0], Y)
