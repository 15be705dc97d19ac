"""`TextSampling` in vLLM's terms, and vLLM's logprobs in ours."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vllm import SamplingParams
from vllm.logprobs import Logprob
from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind, StructuredOutputsParams

from antiphon_executor.protocol import TextSampling, TokenLogprob


def sampling_params(sampling: TextSampling, extra_args: dict[str, Any] | None) -> SamplingParams:
    """Raises vLLM's `VLLMValidationError` (a ValueError) where values do not go together."""
    structured = StructuredOutputsParams(json=sampling.json_schema) if sampling.json_schema else None
    repeated = sampling.repetition_detection
    return SamplingParams(
        n=sampling.choices,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
        stop=list(sampling.stop),
        logprobs=sampling.top_logprobs,
        logit_bias=dict(sampling.logit_bias) or None,
        structured_outputs=structured,
        repetition_detection=RepetitionDetectionParams(**asdict(repeated)) if repeated else None,
        output_kind=RequestOutputKind.DELTA,
        extra_args=extra_args,
    )


def token_logprobs(
    token_ids: list[int], logprobs: list[dict[int, Logprob]] | None, top: int
) -> tuple[TokenLogprob, ...]:
    """One entry a token; `top` alternatives each, best first."""
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
