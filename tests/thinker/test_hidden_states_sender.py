"""Hidden states arrive unchanged in any dtype, and closing the sender sends what is queued."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import zmq

from antiphon_executor.ipc.hidden_states_sender import HiddenStatesSender, PendingHiddenStates
from antiphon_executor.ipc.messages import HiddenStates, HiddenStatesFailed


def gathered(request_id: str, rows: torch.Tensor) -> PendingHiddenStates:
    ids = np.arange(5, dtype=np.int32)
    return PendingHiddenStates.start(request_id, ids, np.stack([ids] * 3), ids[: len(rows)], rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_message_holds_the_rows_bytes(dtype: torch.dtype) -> None:
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    message = gathered("turn", rows).message()
    assert getattr(torch, message.dtype) is dtype
    read = torch.frombuffer(bytearray(message.rows), dtype=dtype).reshape(-1, message.hidden_size)
    assert torch.equal(read, rows)
    assert np.frombuffer(message.positions, np.int32).reshape(3, -1).tolist() == [[0, 1, 2, 3, 4]] * 3


def test_a_prompt_without_media_has_an_empty_message() -> None:
    message = gathered("turn", torch.zeros(0, 4)).message()
    assert (message.rows, message.row_index, message.hidden_size) == (b"", b"", 4)


def test_closing_sends_what_is_queued(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/rows"
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.bind(endpoint)
        sender = HiddenStatesSender(endpoint)
        for index in range(20):
            sender.send(gathered(str(index), torch.ones(2, 4)))
        sender.close()
        arrived = [msgspec.msgpack.decode(socket.recv(), type=HiddenStates) for _ in range(20)]
    assert [message.request_id for message in arrived] == [str(index) for index in range(20)]


def test_rows_that_cannot_be_sent_fail_their_request_and_the_next_are_sent(tmp_path: Path) -> None:
    """An error once ended the thread, and every request with media waited forever."""
    endpoint = f"ipc://{tmp_path}/rows"
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.bind(endpoint)
        sender = HiddenStatesSender(endpoint)
        sender.send(gathered("broken", torch.ones(2, 4, dtype=torch.float32).to_sparse()))
        sender.send(gathered("whole", torch.ones(2, 4)))
        sender.close()
        failed, whole = (
            msgspec.msgpack.decode(socket.recv(), type=HiddenStates | HiddenStatesFailed) for _ in range(2)
        )
    assert failed == HiddenStatesFailed("broken")
    assert whole.request_id == "whole"
    assert sender.dropped.count == 1
    sender.check()


def test_a_sender_whose_socket_fails_ends_the_engines_next_step() -> None:
    sender = HiddenStatesSender("ipc:///no/such/folder/" + "x" * 200)
    sender._thread.join(60)
    with pytest.raises(RuntimeError, match="has died"):
        sender.check()
