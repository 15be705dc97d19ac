"""JSON schemas are compiled within a stated time and memory or refused; no key waits for another's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from antiphon_executor.interface.grammar_verdict import Verdict
from antiphon_server.admission.preparation_cost import PreparationCost
from antiphon_server.chat.schema.answer_schema import read_answer_schema
from antiphon_server.chat.schema.bounds import SchemaBounds
from antiphon_server.chat.schema.cost_estimator import SchemaCostEstimator
from antiphon_server.chat.schema.cost_process import CostProcess
from antiphon_server.config.chat import GrammarPolicy
from antiphon_server.errors import BadRequest, Overloaded
from antiphon_server.openai_api.limits import MAX_SCHEMA_PLACES
from antiphon_server.openai_api.request import parse_chat_request
from tests.echo_engine import EchoEngine
from tests.machine import Patience
from tests.server.chat.test_long_prompts import limited
from tests.server.grammar_pricing import Pricing, pricing
from tests.server.schemas import ORDINARY, dear, names, objects

pytestmark = [pytest.mark.heavy, pytest.mark.promise("R41")]

__all__ = ["limited", "pricing"]
URL = "/v1/chat/completions"
SCHEMA = "response_format.json_schema.schema"
# Refusals take up to a second of processor time, on a machine that does other things too.
GENEROUS_S = 15.0
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")


def asked(schema: Any) -> dict[str, Any]:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    return {"messages": [{"role": "user", "content": "x"}], "response_format": wanted}


def forced(*parameters: dict[str, Any]) -> dict[str, Any]:
    tools = [
        {"type": "function", "function": {"name": f"tool_{number}", "parameters": one}}
        for number, one in enumerate(parameters)
    ]
    return {"messages": [{"role": "user", "content": "x"}], "tools": tools, "tool_choice": "required"}


def chain(length: int, step: Any) -> dict[str, Any]:
    """A schema with a chain of `length` references."""
    defs = {f"d{i}": step({"$ref": f"#/$defs/d{i + 1}"}) for i in range(length)}
    return {"$defs": {**defs, f"d{length}": {"type": "string"}}, "$ref": "#/$defs/d0"}


DONE = {
    "ordinary": asked(ORDINARY),
    "400 optional properties": asked({"type": "object", "properties": names(400)}),
    "deep references": asked(chain(200, lambda inner: {"type": "array", "items": inner})),
    "references that double": asked(chain(60, lambda inner: {"anyOf": [inner, inner]})),
    "recursion": asked(
        {
            "$defs": {
                "n": {"type": "object", "properties": {"l": {"$ref": "#/$defs/n"}, "v": {"type": "integer"}}}
            },
            "$ref": "#/$defs/n",
        }
    ),
    "recursion to the root": asked({"type": "object", "properties": {"again": {"$ref": "#"}}}),
    "a tagged union": asked(
        {
            "$defs": {
                kind: {"type": "object", "properties": {"kind": {"const": kind}}, "required": ["kind"]}
                for kind in ("a", "b")
            },
            "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        }
    ),
    "a long string": asked({"type": "string", "maxLength": 1_000_000}),
    "a bounded map": asked(
        {"additionalProperties": {"type": "integer"}, "minProperties": 3, "maxProperties": 9}
    ),
    "at least one name": asked(
        {"type": "object", "properties": names(9), "minProperties": 1, "additionalProperties": False}
    ),
    "keywords as names": asked(
        {"type": "object", "properties": {"not": {"type": "string"}, "id": {"type": "null"}}}
    ),
    "formats": asked({"properties": {name: {"type": "string", "format": name} for name in FORMATS}}),
}
REFUSED = {
    "the issue's": (asked({"properties": names(400), "minProperties": 200}), f"{SCHEMA}.minProperties"),
    "nested counts": (
        asked({"anyOf": [{"properties": {"a": {"properties": names(3), "maxProperties": 2}}}]}),
        f"{SCHEMA}.anyOf[0].properties.a.maxProperties",
    ),
    "128 tools with counts": (
        forced(*({"type": "object", "properties": names(40), "minProperties": 20} for _ in range(128))),
        "tools[0].function.parameters.minProperties",
    ),
    "128 tools of 40 properties": (
        forced(*(objects(40) for _ in range(128))), "tools[50].function.parameters.properties",
    ),
    "items": (asked({"type": "array", "maxItems": 10**9}), f"{SCHEMA}.maxItems"),
    "items in all": (
        asked({"properties": {f"p{i}": {"type": "array", "maxItems": 5_000} for i in range(5)}}),
        f"{SCHEMA}.properties.p4.maxItems",
    ),
    "multiples": (asked({"type": "integer", "multipleOf": 999_983}), f"{SCHEMA}.multipleOf"),
    "multiples of many digits": (
        asked({"type": "integer", "multipleOf": 10**30 + 1}),
        f"{SCHEMA}.multipleOf",
    ),
    "multiples of a truth": (asked({"type": "integer", "multipleOf": True}), f"{SCHEMA}.multipleOf"),
    "fine multiples": (asked({"type": "number", "multipleOf": 0.999983}), f"{SCHEMA}.multipleOf"),
    "alternatives": (asked({"anyOf": [{}] * 1_001}), f"{SCHEMA}.anyOf"),
    "values": (asked({"enum": list(range(2_001))}), f"{SCHEMA}.enum"),
    "a keyword": (asked({"items": {"type": "array", "uniqueItems": True}}), f"{SCHEMA}.items.uniqueItems"),
    "a format": (asked({"type": "string", "format": "binary"}), f"{SCHEMA}.format"),
    "options of the compiler": (asked({"x-guidance": {"lenient": True}}), f"{SCHEMA}.x-guidance"),
    "a pattern behind a reference": (asked({"foo": {"pattern": "a"}, "$ref": "#/foo"}), f"{SCHEMA}.$ref"),
    "a reference to a value": (asked({"enum": [{"pattern": "a"}], "$ref": "#/enum/0"}), f"{SCHEMA}.$ref"),
    "a reference elsewhere": (asked({"$ref": "file:///etc/passwd"}), f"{SCHEMA}.$ref"),
    "a missing reference": (asked({"$ref": "#/$defs/x"}), f"{SCHEMA}.$ref"),
    "ids within": (asked({"$defs": {"a": {"$id": "http://x/"}}}), f"{SCHEMA}.$defs.a"),
    "no type": (asked({"type": "?"}), SCHEMA),
    "no object": (asked({"properties": [1]}), SCHEMA),
    "no answer": (asked({"type": "integer", "minimum": 5, "maximum": 3}), SCHEMA),
    "endless recursion": (asked({"$defs": {"n": {"$ref": "#/$defs/n"}}, "$ref": "#/$defs/n"}), SCHEMA),
    "a product": (
        asked({"allOf": [{"anyOf": [{"properties": {f"k{j}{i}": {}}} for i in range(8)]} for j in range(8)]}),
        SCHEMA,
    ),
    "common multiples": (asked(dear(0)), SCHEMA),
}  # fmt: skip


@pytest.mark.parametrize("name", DONE)
async def test_a_schema_that_compiles_in_time_is_answered(client: httpx.AsyncClient, name: str) -> None:
    patience = Patience(GENEROUS_S)
    answer = await client.post(URL, json=DONE[name])
    assert answer.status_code == 200, answer.text
    assert not patience.is_over()


@pytest.mark.parametrize("name", REFUSED)
async def test_a_schema_that_does_not_is_refused_by_name(
    client: httpx.AsyncClient, engine: EchoEngine, name: str
) -> None:
    body, param = REFUSED[name]
    patience = Patience(GENEROUS_S)
    answer = await client.post(URL, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["code"] in ("schema_unsupported", "schema_too_large", "schema_too_complex")
    assert not patience.is_over()
    assert engine.started == 0


async def test_a_tools_own_references_hold_within_the_forced_call(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    point = {
        "$defs": {"n": {"type": "integer"}},
        "properties": {"x": {"$ref": "#/$defs/n"}, "y": {"$ref": "#"}},
    }
    for tools in (1, 2):
        answer = await client.post(URL, json=forced(*[point] * tools))
        assert answer.status_code == 200, answer.text
    assert "#/anyOf/1/properties/arguments/$defs/n" in engine.schema_text()


async def test_the_seconds_of_a_compilation_are_charged_to_the_key(limited: Any) -> None:
    pricer = limited.schema_costs
    with PreparationCost(limited.admission.rates, "key") as cost, pytest.raises(BadRequest):
        await pricer.estimate('{"type": "integer", "multipleOf": 988027}', "key", SCHEMA, cost)
    assert limited.admission.rates.tokens.remaining("key") <= 100_000 - 1_000
    assert limited.admission.rates.tokens.remaining("other") == 100_000
    await pricer.close()


async def test_a_schema_that_is_known_is_charged_too_since_the_engine_compiles_it_again(
    limited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def judge(process: CostProcess, schema: str) -> Verdict:
        return Verdict(compile_s=0.5)

    monkeypatch.setattr(CostProcess, "measure", judge)
    rates = limited.admission.rates
    for _ in range(3):
        with PreparationCost(rates, "key") as cost:
            await limited.schema_costs.estimate("{}", "key", SCHEMA, cost)
    assert rates.tokens.remaining("key") == 100_000 - 3 * 500


async def test_one_keys_dear_schemas_do_not_delay_another_key(pricing: Pricing) -> None:
    hogs = [asyncio.create_task(pricing.estimate(dear(n, as_text=True), "hog")) for n in range(1, 9)]
    await pricing.forks(1)
    await pricing.estimate('{"type": "object"}', "guest")
    assert sum(hog.done() for hog in hogs) <= 3
    for hog in hogs:
        hog.cancel()
    await asyncio.gather(*hogs, return_exceptions=True)


async def test_more_than_a_keys_share_of_waiting_schemas_is_refused(pricing: Pricing) -> None:
    hogs = [asyncio.create_task(pricing.estimate(dear(n, as_text=True), "hog")) for n in range(1, 40)]
    done, _ = await asyncio.wait(hogs, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(Overloaded) as refused:
        done.pop().result()
    assert refused.value.retry_after_s
    for hog in hogs:
        hog.cancel()
    await asyncio.gather(*hogs, return_exceptions=True)


async def test_a_client_that_leaves_ends_its_compilation(checkpoint: Path, limited: Any) -> None:
    pricer = SchemaCostEstimator(checkpoint, GrammarPolicy(compile_s=10, wait_s=60))
    pricing = Pricing(pricer, limited.admission.rates)
    await pricer.start()
    waiting = asyncio.create_task(pricing.estimate(dear(1, as_text=True)))
    await pricing.forks(1)
    fork = pricing.process.children()[0]
    waiting.cancel()
    await pricing.forks(0)
    # Not by its own limit, which it is far from.
    with contextlib.suppress(psutil.NoSuchProcess):
        assert fork.status() == psutil.STATUS_ZOMBIE
    await pricer.close()


@pytest.mark.parametrize("pricing", [GrammarPolicy(memory_bytes=16 << 20)], indirect=True)
async def test_a_schema_that_takes_too_much_memory_is_refused(pricing: Pricing) -> None:
    schema = '{"type": "array", "maxItems": 20000, "items": {"type": "integer"}}'
    with pytest.raises(BadRequest) as refused:
        await pricing.estimate(schema)
    assert refused.value.code == "schema_too_complex"
    assert "16 MiB" in refused.value.message


@pytest.mark.parametrize("pricing", [GrammarPolicy(compile_s=10, wait_s=0.3)], indirect=True)
async def test_a_schema_that_is_not_compiled_in_time_is_refused_as_overload(pricing: Pricing) -> None:
    with pytest.raises(Overloaded):
        await pricing.estimate(dear(1, as_text=True))
    await pricing.forks(0)


async def test_a_verdict_is_remembered_for_its_key_alone(
    pricing: Pricing, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    judge = CostProcess.measure

    async def counting(process: CostProcess, schema: str) -> Verdict:
        judged.append(schema)
        return await judge(process, schema)

    monkeypatch.setattr(CostProcess, "measure", counting)
    for owner in ("a", "a", "b", "a", "b"):
        await pricing.estimate('{"type": "object"}', owner)
        with pytest.raises(BadRequest):
            await pricing.estimate('{"type": "?"}', owner)
    assert len(judged) == 4


@pytest.mark.parametrize("properties", [0, 5, 15])
async def test_a_call_of_one_of_128_tools_compiles_in_time(pricing: Pricing, properties: int) -> None:
    request = parse_chat_request(json.dumps(forced(*(objects(properties) for _ in range(128)))).encode())
    schema = read_answer_schema(request)
    assert schema is not None
    assert await pricing.estimate(schema.text) < GrammarPolicy().compile_s


def test_schemas_of_too_many_definitions_are_refused_before_they_take_the_event_loops_time() -> None:
    bounds, most = SchemaBounds(), MAX_SCHEMA_PLACES
    few = {"$defs": {f"d{number}": {} for number in range(most // 5 - 1)}}
    for _ in range(5):
        bounds.check(few, "tools[0]")
    with pytest.raises(BadRequest) as refused:
        bounds.check({}, "tools[1].function.parameters")
    assert (refused.value.code, refused.value.param) == ("schema_too_large", "tools[1].function.parameters")


@pytest.mark.parametrize("part", ["check_s", "step_s"])
async def test_a_schema_that_holds_up_the_event_loop_or_the_engines_steps_is_refused(
    pricing: Pricing, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    async def judge(process: CostProcess, schema: str) -> Verdict:
        return replace(Verdict(compile_s=0.01), **{part: 0.11 if "slow" in schema else 0.09})

    monkeypatch.setattr(CostProcess, "measure", judge)
    assert await pricing.estimate('{"title": "fast"}') == 0.01
    with pytest.raises(BadRequest) as refused:
        await pricing.estimate('{"title": "slow"}')
    assert refused.value.code == "schema_too_complex"


async def test_tools_that_are_long_to_check_are_refused(pricing: Pricing) -> None:
    """vLLM would check these for a third of a second on the server's event loop, at every request."""
    tools = ({"type": "object", "properties": {f"a{n}_{i}": {"type": "string", "format": FORMATS[i % 10]}
              for i in range(280)}} for n in range(7))  # fmt: skip
    schema = read_answer_schema(parse_chat_request(json.dumps(forced(*tools)).encode()))
    assert schema is not None
    with pytest.raises(BadRequest):
        await pricing.estimate(schema.text)


async def test_the_engine_has_one_dear_schema_of_a_key_to_compile(pricing: Pricing) -> None:
    pricer, order = pricing.pricer, []

    async def compile_(owner: str, seconds: float, release: asyncio.Event) -> None:
        async with pricer.compile_slot(owner, seconds) as compiled:
            order.append((owner, seconds))
            await release.wait()
            compiled()
            await asyncio.sleep(0)

    releases = [asyncio.Event() for _ in range(4)]
    asked_for = [("hog", 0.5), ("hog", 0.4), ("guest", 0.3), ("hog", 0.001)]
    tasks = [
        asyncio.create_task(compile_(owner, seconds, release))
        for (owner, seconds), release in zip(asked_for, releases, strict=True)
    ]
    for _ in range(10):
        await asyncio.sleep(0)
    assert set(order) == {("hog", 0.5), ("guest", 0.3), ("hog", 0.001)}
    releases[0].set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert order[-1] == ("hog", 0.4)
    for release in releases:
        release.set()
    await asyncio.gather(*tasks)
