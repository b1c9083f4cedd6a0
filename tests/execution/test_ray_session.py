"""Ray sessions: joining and starting Ray, and the messages if this fails."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import ray
from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc

from ngm_tune.errors import UserError
from ngm_tune.execution.ray_session import ray_session
from ngm_tune.execution.signals import deferred
from tests.helpers.waiting import wait_for

TRACEBACK = """Traceback (most recent call last):
  File "proxier.py", line 765, in Datapath
RuntimeError: Starting Ray client server failed. See ray_client_server_23000.err.
"""


class Refusing(
    ray_client_pb2_grpc.RayletDriverServicer, ray_client_pb2_grpc.RayletDataStreamerServicer
):
    """The head of a cluster that refuses every client, with a reason or by disconnecting."""

    def __init__(self, *, explains: bool) -> None:
        self.attempts = 0
        self.explains = explains

    def ClusterInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return ray_client_pb2.ClusterInfoResponse(json="{}")

    def Datapath(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        request = next(requests)
        self.attempts += 1
        if not self.explains:
            return
        refused = ray_client_pb2.InitResponse(ok=False, msg=TRACEBACK)
        yield ray_client_pb2.DataResponse(init=refused, req_id=request.req_id)
        list(requests)  # until the client disconnects


@pytest.mark.parametrize(
    ("explains", "reason"),
    [
        (True, "RuntimeError: Starting Ray client server failed. See ray_client_server_23000.err."),
        (False, "Request can't be sent because the Ray client has already been disconnected."),
    ],
)
def test_joining_a_cluster_fails_after_three_refusals(
    monkeypatch: pytest.MonkeyPatch, explains: bool, reason: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    head, server = Refusing(explains=explains), grpc.server(ThreadPoolExecutor(4))
    ray_client_pb2_grpc.add_RayletDriverServicer_to_server(head, server)
    ray_client_pb2_grpc.add_RayletDataStreamerServicer_to_server(head, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(UserError) as refused, ray_session(f"ray://127.0.0.1:{port}"):
            pass
    finally:
        server.stop(None)
    where = f"the Ray cluster at ray://127.0.0.1:{port}"
    assert str(refused.value) == f"{where} cannot be joined: {reason}"
    assert head.attempts == 3


@pytest.mark.ray
@pytest.mark.slow
def test_the_reason_why_ray_does_not_start_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / (100 * "x")))
    sentence = "Ray cannot be started on this machine: .*AF_UNIX path length cannot exceed"
    with pytest.raises(UserError, match=sentence), ray_session("local"):
        pass


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(300)
def test_ray_is_started_again_if_it_takes_too_long_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    suspended: list[psutil.Process] = []

    def suspend() -> None:
        wait_for(raylets)
        suspended.extend(raylets())
        suspended[0].suspend()

    with ThreadPoolExecutor(1) as beside:
        suspending = beside.submit(suspend)
        with ray_session("local"):
            suspending.result()
            (raylet,) = raylets()
            assert raylet != suspended[0]
            assert ray.get(ray.remote(lambda: 3).remote()) == 3
    assert raylets() == []


def raylets() -> list[psutil.Process]:
    """Return the running raylets that this process has started."""
    return [
        process
        for process in psutil.process_iter(["name", "ppid", "status"])
        if process.info["ppid"] == os.getpid()
        and process.info["name"] == "raylet"
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_a_deferred_signal_is_handled_afterwards() -> None:
    heard: list[str] = []
    former = signal.signal(signal.SIGUSR1, lambda *_: heard.append("ours"))
    try:
        with deferred(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: heard.append("another's"))
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            assert heard == []
        assert heard == ["ours"]
    finally:
        signal.signal(signal.SIGUSR1, former)
