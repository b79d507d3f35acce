"""Two processes that find each other as those that torchrun starts do."""

from __future__ import annotations

import multiprocessing
import os
import socket
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from tests.integration.small_runs import preload


def start_pair(target: Any, *arguments: Any) -> list[tuple[ForkServerProcess, Connection]]:
    """Start `target(*arguments, connection)` twice; with each process comes what it sends through."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pair = []
    for rank in range(2):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_as_rank, args=(rank, port, target, arguments, sender))
        process.start()
        sender.close()
        pair.append((process, receiver))
    return pair


def _as_rank(rank: int, port: int, target: Any, arguments: tuple[Any, ...], connection: Connection) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    target(*arguments, connection)
