"""Streams of training batches, and the replay buffer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from ngm_tune.learners.reservoir import Reservoir
from ngm_tune.training.options import StreamOptions
from ngm_tune.training.streams import Stream

SIZES = (40, 10, 50)


def stream(strategy: str, *, seed: int = 0, buffer_size: int | None = None) -> Stream:
    options = StreamOptions(20, strategy, buffer_size)  # type: ignore[arg-type]
    return Stream(SIZES, options, iterations=30, seed=seed)


def test_naive_batches_come_from_the_current_task() -> None:
    batches = [stream("naive").batches(task) for task in range(3)]
    for drawn, (low, high) in zip(batches, ((0, 40), (40, 50), (50, 100)), strict=True):
        assert drawn.shape == (30, 20)
        assert sorted(drawn.unique().tolist()) == list(range(low, high))


def test_half_of_a_replay_batch_is_new_and_half_from_a_bounded_buffer() -> None:
    replay = stream("replay", buffer_size=8)
    batches = [replay.batches(task) for task in range(3)]
    for drawn, (low, high) in zip(batches, ((0, 40), (40, 50), (50, 100)), strict=True):
        fresh = drawn[:, :10]
        assert ((fresh >= low) & (fresh < high)).all()
    replayed = batches[2][:, 10:]
    assert (replayed < 50).any()
    for before, now in pairwise(replayed):
        assert len(now.unique()) <= 8
        assert len(torch.cat((before, now)).unique()) <= 8 + 10  # a batch has 10 new examples
    old = [(batches[task][:, 10:] < start).float().mean() for task, start in ((1, 40), (2, 50))]
    assert old[0] > 0.5  # the first task had as many iterations as the second
    assert old[1] > 0.5


def test_every_offered_example_is_equally_likely_to_be_in_the_reservoir() -> None:
    counts = torch.zeros(100)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        reservoir = Reservoir(10)
        for part in torch.arange(100).split(7):
            reservoir.offer(part, generator=generator)
        assert len(reservoir) == 10
        counts[reservoir.state_dict()["kept"][0]] += 1
    expected = 2000 * 10 / 100
    assert counts.sum() == 20000  # no item twice
    assert (counts - expected).abs().max() < 5 * expected**0.5


def test_batches_of_a_task_depend_on_the_seed_only() -> None:
    for strategy, settings in (("joint", {}), ("naive", {}), ("replay", {"buffer_size": 8})):
        in_order = [stream(strategy, **settings).batches(task) for task in range(3)]
        assert torch.equal(stream(strategy, **settings).batches(2), in_order[2])
        assert not torch.equal(stream(strategy, seed=1, **settings).batches(2), in_order[2])


def test_replay_alone_needs_a_buffer_size() -> None:
    for strategy, settings in (("replay", {}), ("joint", {"buffer_size": 8})):
        with pytest.raises(ValueError, match="buffer_size"):
            stream(strategy, **settings)


def test_a_reservoir_can_be_saved_and_restored() -> None:
    reservoir, other = Reservoir(4), Reservoir(4)
    reservoir.offer(torch.arange(9.0), torch.arange(9))
    other.load_state_dict(reservoir.state_dict())
    drawn = [r.draw(5, torch.Generator().manual_seed(1)) for r in (reservoir, other)]
    assert all(map(torch.equal, *drawn))
    assert torch.equal(drawn[0][0].long(), drawn[0][1])


@pytest.mark.parametrize("size", [0, 1.5])
def test_a_buffer_size_is_a_whole_number(size: float) -> None:
    with pytest.raises(ValueError, match=rf"Invalid buffer size: {size} \(must be a whole"):
        Reservoir(size)  # type: ignore[arg-type]
