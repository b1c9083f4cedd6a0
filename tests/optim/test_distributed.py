"""NGM-SGD with distributed data parallelism and distributed checkpoints."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
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


def test_distributed_checkpoints_keep_the_gain(tmp_path: Path) -> None:
    model, other = tiny(), tiny()
    optimizer, another = NGMSGD(model, lr=0.1), NGMSGD(other, lr=0.2, gain_sensitivity=0.0)
    for x in X:
        step(model, optimizer, x, Y)
    kept = dict(zip(("model", "optimizer"), get_state_dict(model, optimizer), strict=True))
    checkpoint.save(kept, checkpoint_id=tmp_path, no_dist=True)

    loaded = dict(zip(("model", "optimizer"), get_state_dict(other, another), strict=True))
    checkpoint.load(loaded, checkpoint_id=tmp_path, no_dist=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_state_dict(
            other,
            another,
            model_state_dict=loaded["model"],
            optim_state_dict=loaded["optimizer"],
        )
    step(model, optimizer, X[0], Y)
    step(other, another, X[0], Y)
    assert another.gain.item() == optimizer.gain.item() > 1.5
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_sharded_parameters_are_refused(tmp_path: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    try:
        model = tiny()
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(TypeError, match=r"0\.weight is a distributed tensor, as made by fully"):
            NGMSGD(model)
    finally:
        distributed.destroy_process_group()
