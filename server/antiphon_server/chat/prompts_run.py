"""Runs the prompts of one text completion, each as a request to the engine; its key pays for all or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from antiphon_server.admission.preparation_cost import PreparationCost
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.prompt.raw_prompt import RawPrompt
from antiphon_server.chat.request_run import RunningRequest, render_prompt, run_request
from antiphon_server.chat.request_spec import RequestSpec
from antiphon_server.chat.service import Service
from antiphon_server.chat.text_spec import TextSpec

PromptRequest = AbstractAsyncContextManager[RunningRequest]


@asynccontextmanager
async def run_prompts(
    spec: TextSpec, service: Service, release_body: Callable[[], None], arrived_s: float
) -> AsyncIterator[Sequence[PromptRequest]]:
    """The requests of the prompts, in order, each to be entered as `run_request`'s.

    Several are parts of one request: all their prompts are read and paid for before the first one starts.
    Raises ApiError.
    """
    if len(spec.prompts) == 1:
        yield [run_request(spec.prompts[0], service, release_body, arrived_s)]
        return
    admission, owner = service.admission, spec.prompts[0].cache_salt or ""
    with admission.admit(Reservation(owner)) as whole:
        with PreparationCost(admission.rates, owner) as cost:
            prompts = [await _read(one, service, cost) for one in spec.prompts]
            release_body()
            admission.begin_parts(whole, sum(len(ids) for ids, _ in prompts), 0.0)
        yield [run_request(one, service, _release_nothing, arrived_s, part_of=whole) for _, one in prompts]


async def _read(
    spec: RequestSpec, service: Service, cost: PreparationCost
) -> tuple[tuple[int, ...], RequestSpec]:
    """The tokens of a prompt, and the same request with them in place of its text."""
    ids = await render_prompt(spec, service, cost)
    param = spec.conversation.param if isinstance(spec.conversation, RawPrompt) else "prompt"
    return ids, replace(spec, conversation=RawPrompt(ids, param))


def _release_nothing() -> None:
    """The body has been released by then."""
