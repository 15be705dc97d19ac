"""Converts `TextSampling` to vLLM's `SamplingParams`, and vLLM's logprobs to `TokenLogprob`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from vllm import SamplingParams
from vllm.logprobs import Logprob
from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind, StructuredOutputsParams

from antiphon_executor.interface.events import TokenLogprob
from antiphon_executor.interface.request import TextSampling
from antiphon_executor.stages.grammar import guidance_schema

# Below this temperature vLLM takes the most likely token.
_GREEDY_BELOW = 1e-5


def sampling_params(sampling: TextSampling, extra_args: dict[str, Any] | None) -> SamplingParams:
    """Raises vLLM's `VLLMValidationError` (a ValueError) if values contradict each other."""
    sampling = _without_greedy_choices(sampling)
    repeated = sampling.repetition_detection
    return SamplingParams(
        n=sampling.choices,
        max_tokens=sampling.max_tokens,
        min_tokens=sampling.min_tokens,
        ignore_eos=sampling.ignore_eos,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_token_ids),
        include_stop_str_in_output=sampling.include_stop,
        logprobs=sampling.top_logprobs,
        logit_bias=dict(sampling.logit_bias) or None,
        structured_outputs=_structure(sampling),
        repetition_detection=RepetitionDetectionParams(**asdict(repeated)) if repeated else None,
        output_kind=RequestOutputKind.DELTA,
        extra_args=extra_args,
    )


def _structure(sampling: TextSampling) -> StructuredOutputsParams | None:
    if sampling.answers:
        return StructuredOutputsParams(choice=list(sampling.answers))
    if sampling.schema is None:
        return None
    return StructuredOutputsParams(json=guidance_schema(sampling.schema.text))


def _without_greedy_choices(sampling: TextSampling) -> TextSampling:
    """Replaces greedy sampling of several choices, which vLLM rejects, by sampling from the top token."""
    if sampling.choices == 1 or sampling.temperature >= _GREEDY_BELOW:
        return sampling
    return replace(sampling, temperature=1.0, top_k=1, top_p=1.0, min_p=0.0)


def token_logprobs(
    token_ids: list[int], logprobs: list[dict[int, Logprob]] | None, top: int
) -> tuple[TokenLogprob, ...]:
    """One entry per token, each with its `top` alternatives, most likely first."""
    if logprobs is None:
        return ()
    return tuple(
        _entry(candidates, token_id, top) for token_id, candidates in zip(token_ids, logprobs, strict=True)
    )


def _entry(candidates: dict[int, Logprob], token_id: int, top: int) -> TokenLogprob:
    ranked = sorted(candidates.values(), key=lambda one: -one.logprob)[:top]
    chosen = candidates[token_id]
    return TokenLogprob(
        chosen.decoded_token or "",
        (chosen.decoded_token or "").encode(),
        chosen.logprob,
        tuple(
            TokenLogprob(one.decoded_token or "", (one.decoded_token or "").encode(), one.logprob)
            for one in ranked
        ),
    )
