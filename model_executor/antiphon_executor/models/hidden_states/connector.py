"""KV connector that sends a prompt's multimodal hidden states to the bridge; it only stores, never loads.

One `HiddenStates` message goes out over ZeroMQ for each request that asks (`request_hidden_states`), in the
step that computes the prompt's last token. `context_selection.py` chooses the rows. No block is ever held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    SupportsHMA,
)
from vllm.distributed.parallel_state import get_tensor_model_parallel_rank
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig

from antiphon_executor.ipc.hidden_states_sender import HiddenStatesSender, PendingHiddenStates
from antiphon_executor.models.hidden_states.context_selection import context_selection_of
from antiphon_executor.models.layers.hidden_states_cache import hidden_states_layers, read_hidden_states

if TYPE_CHECKING:
    from vllm.v1.request import Request

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.distributed.kv_transfer.kv_connector.v1.base.KVConnectorBase_V1": (
        "_connector_metadata",
        "_kv_cache_config",
        "_kv_transfer_config",
        "_vllm_config",
    ),
    "vllm.v1.core.sched.output.SchedulerOutput": (
        "kv_connector_block_state",
        "num_scheduled_tokens",
        "scheduled_cached_reqs",
        "scheduled_new_reqs",
    ),
    "vllm.v1.core.sched.output.KVConnectorBlockState": ("resolve_block_ids",),
}

_REQUEST_KEY = "hidden_states"


def request_hidden_states(request_id: str) -> dict[str, Any]:
    """`SamplingParams.extra_args` that ask for a request's hidden states.

    They are sent under `request_id`, because vLLM changes the ids of its requests.
    """
    return {"kv_transfer_params": {_REQUEST_KEY: request_id}}


@dataclass(frozen=True, slots=True)
class PendingPrompt:
    """A prompt whose hidden states are to be sent. Arrays are as in `messages.HiddenStates`."""

    request_id: str
    prompt_token_ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    row_index: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CompletedPrompt:
    """A prompt that this step completes. `slots`: int64 [layers, num_rows], its cache slots by layer."""

    prompt: PendingPrompt
    slots: NDArray[np.int64]


@dataclass
class HiddenStatesMetadata(KVConnectorMetadata):
    """Sent from the scheduler to the workers with every step."""

    complete: list[CompletedPrompt] = field(default_factory=list)


class HiddenStatesConnector(KVConnectorBase_V1, SupportsHMA):
    """The scheduler's half detects that a prompt is complete; the worker's half gathers and sends."""

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self._layers = _hidden_states_layers(kv_cache_config)
        self._selection = context_selection_of(vllm_config.model_config.hf_config)
        self._wanted: dict[str, PendingPrompt] = {}
        self._caches: list[torch.Tensor] = []
        self._sender: HiddenStatesSender | None = None

    @property
    def requires_kv_delivery(self) -> bool:
        """False: the rows have been gathered before a request can be preempted or finish."""
        return False

    # The scheduler's half.

    def on_new_request(self, request: Request) -> None:
        asked = (request.kv_transfer_params or {}).get(_REQUEST_KEY)
        if asked is None or request.prompt_token_ids is None:
            return
        ids = np.asarray(request.prompt_token_ids, dtype=np.int32)
        self._wanted[request.request_id] = PendingPrompt(
            request_id=asked,
            prompt_token_ids=ids,
            positions=self._selection.positions(ids, request.mm_features),
            row_index=self._selection.rows(ids),
        )

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> HiddenStatesMetadata:
        metadata = HiddenStatesMetadata()
        if not self._wanted:
            return metadata
        cached = scheduler_output.scheduled_cached_reqs
        computed = dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        computed |= {new.req_id: new.num_computed_tokens for new in scheduler_output.scheduled_new_reqs}
        for request_id, before in computed.items():
            wanted = self._wanted.get(request_id)
            after = before + scheduler_output.num_scheduled_tokens.get(request_id, 0)
            if wanted is None or after < len(wanted.prompt_token_ids):
                continue
            del self._wanted[request_id]
            blocks = scheduler_output.kv_connector_block_state.resolve_block_ids(request_id)
            metadata.complete.append(CompletedPrompt(wanted, self._slots(wanted.row_index, blocks)))
        return metadata

    def _slots(self, row_index: NDArray[np.int32], blocks: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        index = row_index.astype(np.int64)
        slots = np.empty((len(self._layers), len(index)), dtype=np.int64)
        for layer, (group, _) in enumerate(self._layers):
            size = self._kv_cache_config.kv_cache_groups[group].kv_cache_spec.block_size
            slots[layer] = np.asarray(blocks[group], dtype=np.int64)[index // size] * size + index % size
        return slots

    def request_finished_all_groups(
        self, request: Request, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        self._wanted.pop(request.request_id, None)
        return False, None

    def get_num_new_matched_tokens(self, request: Request, num_computed_tokens: int) -> tuple[int, bool]:
        return 0, False

    def update_state_after_alloc(self, request: Request, blocks: Any, num_external_tokens: int) -> None:
        """Does nothing: this connector never loads."""

    # The worker's half.

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        self._caches = [kv_caches[name] for _, name in self._layers]
        if get_tensor_model_parallel_rank() == 0:
            self._sender = HiddenStatesSender(
                self._kv_transfer_config.kv_connector_extra_config["hidden_states_socket"]
            )

    def wait_for_save(self) -> None:
        metadata = self._connector_metadata
        if self._sender is None or not isinstance(metadata, HiddenStatesMetadata):
            return
        self._sender.check()
        for complete in metadata.complete:
            self._sender.send(self._gather(complete))

    def _gather(self, complete: CompletedPrompt) -> PendingHiddenStates:
        """Starts the copy to the host and does not wait for it."""
        model, wanted = self._vllm_config.model_config, complete.prompt
        device = self._caches[0].device
        slots = torch.from_numpy(complete.slots)
        if device.type == "cuda":
            slots = slots.pin_memory().to(device, non_blocking=True)
        hidden = model.hf_config.thinker_config.text_config.hidden_size
        rows = read_hidden_states(self._caches, slots, hidden, model.dtype)
        return PendingHiddenStates.start(
            wanted.request_id, wanted.prompt_token_ids, wanted.positions, wanted.row_index, rows
        )

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Does nothing: this connector never loads."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Does nothing: this connector never loads."""

    def save_kv_layer(
        self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: Any, **kwargs: Any
    ) -> None:
        """Does nothing: `wait_for_save` reads the rows from the cache."""

    def shutdown(self) -> None:
        if self._sender is not None:
            self._sender.close()


def _hidden_states_layers(kv_cache_config: KVCacheConfig) -> list[tuple[int, str]]:
    """Cache group and name of every layer that stores hidden states, in order."""
    groups = kv_cache_config.kv_cache_groups
    group_of = {name: index for index, group in enumerate(groups) for name in group.layer_names}
    found = [(group_of[name], name) for name in hidden_states_layers(list(group_of))]
    if not found:
        raise ValueError("the model stores no hidden states: HiddenStatesConnector needs Antiphon's Thinker")
    return found
