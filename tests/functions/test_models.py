"""Two providers of language models: what goes to them, what comes back, and every way in which nothing does."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest
import respx

from lib import config, models
from lib.adapters import LONGEST_ANSWER, gemini, openai_compatible
from lib.models import Model, NoAnswer

KEY = "made up for a provider"
SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
ANSWER = '{"a": "b"}'
VECTORS = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]


class Provider(NamedTuple):
    """How one is set up, where it is asked, and what it says when all is well."""

    variables: Mapping[str, str]
    completion_url: str
    embedding_url: str
    completion: Mapping[str, Any]
    embeddings: Mapping[str, Any]


GOOGLE = Provider(
    {"GEMINI_API_KEY": KEY},
    "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.5-flash-lite:generateContent",
    "https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-2:batchEmbedContents",
    {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": ANSWER}]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"totalTokenCount": 7},
    },
    {"embeddings": [{"values": vector} for vector in VECTORS]},
)
OPENAI = Provider(
    {"MODEL_PROVIDER": "openai", "MODEL_API_KEY": KEY},
    "https://api.openai.com/v1/chat/completions",
    "https://api.openai.com/v1/embeddings",
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}]},
    {"data": [{"index": index, "embedding": vector} for index, vector in reversed(list(enumerate(VECTORS)))]},
)
BOTH = pytest.mark.parametrize("provider", [GOOGLE, OPENAI], ids=["gemini", "openai"])


@pytest.fixture
def network() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> Any:  # a function of this file alone
    """Makes the model of a process with these variables."""

    def made(variables: Mapping[str, str]) -> Model:
        for name, value in {"EMBEDDING_DIMENSION": "3", **variables}.items():
            monkeypatch.setenv(name, value)
        config.settings.cache_clear()
        models.model.cache_clear()
        model = models.model()
        assert model is not None
        return model

    return made


def sent(route: respx.Route) -> Any:  # JSON
    return json.loads(route.calls.last.request.content)


# --- what goes and what comes back ----------------------------------------------------------------------


async def test_gemini_is_asked_as_google_documents_it(network: respx.MockRouter, set_up: Any) -> None:
    route = network.post(GOOGLE.completion_url).respond(json=GOOGLE.completion)
    assert await set_up(GOOGLE.variables).complete("Do.", "Data.", SCHEMA) == ANSWER
    assert sent(route) == {
        "systemInstruction": {"parts": [{"text": "Do."}]},
        "contents": [{"role": "user", "parts": [{"text": "Data."}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
    }


async def test_openai_is_asked_as_openai_documents_it(network: respx.MockRouter, set_up: Any) -> None:
    route = network.post(OPENAI.completion_url).respond(json=OPENAI.completion)
    assert await set_up(OPENAI.variables).complete("Do.", "Data.", SCHEMA) == ANSWER
    assert sent(route) == {
        "model": "gpt-5.6-luna",
        "messages": [{"role": "system", "content": "Do."}, {"role": "user", "content": "Data."}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
        },
    }


@pytest.mark.parametrize(
    ("variables", "as_question", "request_of_one"),
    [
        ({}, False, {"content": {"parts": [{"text": "title: none | text: x"}]}}),
        ({}, True, {"content": {"parts": [{"text": "task: search result | query: x"}]}}),
        (
            {"EMBEDDING_MODEL": "gemini-embedding-001"},
            True,
            {"content": {"parts": [{"text": "x"}]}, "taskType": "RETRIEVAL_QUERY"},
        ),
        (
            {"EMBEDDING_MODEL": "gemini-embedding-001"},
            False,
            {"content": {"parts": [{"text": "x"}]}, "taskType": "RETRIEVAL_DOCUMENT"},
        ),
    ],
)
async def test_gemini_embeds_a_batch_and_is_told_what_for(
    network: respx.MockRouter,
    set_up: Any,
    variables: Mapping[str, str],
    as_question: bool,  # noqa: FBT001
    request_of_one: Mapping[str, Any],
) -> None:
    model = set_up({**GOOGLE.variables, **variables})
    url = GOOGLE.embedding_url.replace("gemini-embedding-2", model.embedding_model)
    route = network.post(url).respond(json={"embeddings": [{"values": VECTORS[0]}]})
    assert await model.embed(["x"], as_question=as_question) == [VECTORS[0]]
    known = {"model": f"models/{model.embedding_model}", "outputDimensionality": 3}
    assert sent(route) == {"requests": [known | dict(request_of_one)]}


async def test_openai_embeds_a_batch_and_its_order_is_that_of_the_texts(network: respx.MockRouter, set_up: Any) -> None:
    route = network.post(OPENAI.embedding_url).respond(json=OPENAI.embeddings)
    assert await set_up(OPENAI.variables).embed(["x", "y"]) == VECTORS
    assert sent(route) == {
        "model": "text-embedding-3-small",
        "input": ["x", "y"],
        "dimensions": 3,
        "encoding_format": "float",
    }


@BOTH
async def test_the_key_travels_in_a_header_and_nowhere_else(
    network: respx.MockRouter, set_up: Any, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    route = network.post(provider.completion_url).respond(json=provider.completion)
    model = set_up(provider.variables)
    await model.complete("Do.", "Data.", SCHEMA)
    request = route.calls.last.request
    assert KEY in {
        request.headers.get("x-goog-api-key"),
        request.headers.get("authorization", "").removeprefix("Bearer "),
    }
    assert KEY not in f"{request.url}{request.content!r}"
    network.post(provider.completion_url).respond(400, text=f"bad key: {KEY}")
    with pytest.raises(NoAnswer) as raised:
        await model.complete("Do.", "Data.", SCHEMA)
    models.note_failure("brief", raised.value)
    logged = capsys.readouterr().out
    assert "status 400" in logged
    assert KEY not in f"{logged}{raised.value!r}{vars(model)['_url']}"


async def test_names_addresses_and_a_server_without_a_key_are_settings(network: respx.MockRouter, set_up: Any) -> None:
    variables = {"MODEL_PROVIDER": "openai", "MODEL_URL": "http://127.0.0.1:9/v1/", "MODEL_NAME": "ours"}
    route = network.post("http://127.0.0.1:9/v1/chat/completions").respond(json=OPENAI.completion)
    assert await set_up(variables).complete("Do.", "Data.", SCHEMA) == ANSWER
    assert sent(route)["model"] == "ours"
    assert "authorization" not in route.calls.last.request.headers


# --- every way in which nothing comes -------------------------------------------------------------------

FAILURES: Mapping[str, httpx.Response | Exception] = {
    "bad key": httpx.Response(401, json={"error": "x"}),
    "forbidden": httpx.Response(403),
    "unknown model": httpx.Response(404),
    "out of quota": httpx.Response(429, headers={"Retry-After": "60"}),
    "broken": httpx.Response(500),
    "overloaded": httpx.Response(503),
    "moved": httpx.Response(302, headers={"Location": "https://elsewhere.test/"}),
    "created": httpx.Response(201, json={}),
    "no JSON": httpx.Response(200, text="<html>"),
    "no object": httpx.Response(200, json=[]),
    "nothing": httpx.Response(200, content=b""),
    "half": httpx.Response(200, content=b'{"candidates": [{"content'),
    "not UTF-8": httpx.Response(200, content=b'{"choices": "\xff"}'),
    "nested": httpx.Response(200, content=b"[" * 100_000),
    "another document": httpx.Response(200, json={"promptFeedback": {"blockReason": "SAFETY"}}),
    "empty lists": httpx.Response(200, json={"candidates": [], "choices": [], "embeddings": [], "data": []}),
    "a refusal": httpx.Response(
        200,
        json={
            "candidates": [{"content": {"parts": []}, "finishReason": "SAFETY"}],
            "choices": [{"message": {"content": None, "refusal": "I cannot."}}],
        },
    ),
    "too much": httpx.Response(200, content=b" " * (LONGEST_ANSWER + 1)),
    "no connection": httpx.ConnectError("canary"),
    "cut off": httpx.RemoteProtocolError("canary"),
    "too slow to read": httpx.ReadTimeout("canary"),
}


@BOTH
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
async def test_whatever_fails_is_no_answer(
    network: respx.MockRouter, set_up: Any, provider: Provider, failure: httpx.Response | Exception
) -> None:
    network.post(provider.completion_url).mock(side_effect=[failure])
    network.post(provider.embedding_url).mock(side_effect=[failure])
    model = set_up(provider.variables)
    for call in (model.complete("Do.", "Data.", SCHEMA), model.embed(["x", "y"])):
        with pytest.raises(NoAnswer) as raised:
            await call
        assert "canary" not in raised.value.why
    assert len(network.calls) == 2, "nothing is asked twice"


@BOTH
@pytest.mark.parametrize("vectors", [VECTORS[:1], [*VECTORS, VECTORS[0]], [[0.1], [0.2]], [VECTORS[0], []]])
async def test_vectors_that_are_not_those_asked_for_are_none(
    network: respx.MockRouter, set_up: Any, provider: Provider, vectors: list[list[float]]
) -> None:
    answer = {
        "embeddings": [{"values": each} for each in vectors],
        "data": [{"index": index, "embedding": each} for index, each in enumerate(vectors)],
    }
    network.post(provider.embedding_url).respond(json=answer)
    with pytest.raises(NoAnswer):
        await set_up(provider.variables).embed(["x", "y"])


@BOTH
async def test_an_answer_that_never_comes_ends_with_the_time(
    network: respx.MockRouter, set_up: Any, provider: Provider
) -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    network.post(provider.completion_url).mock(side_effect=hang)
    model = set_up({**provider.variables, "MODEL_TIMEOUT_SECONDS": "0.05"})
    with pytest.raises(NoAnswer, match="no answer in time"):
        await model.complete("Do.", "Data.", SCHEMA)


async def test_a_key_that_no_header_can_carry_is_no_answer_either(network: respx.MockRouter, set_up: Any) -> None:
    network.post(GOOGLE.completion_url).respond(json=GOOGLE.completion)
    with pytest.raises(NoAnswer):
        await set_up({"GEMINI_API_KEY": "schlüssel"}).complete("Do.", "Data.", SCHEMA)


# --- on and off -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "on", "missing"),
    [
        ({}, False, ["GEMINI_API_KEY"]),
        ({"GEMINI_API_KEY": ""}, False, ["GEMINI_API_KEY"]),
        ({"GEMINI_API_KEY": KEY}, True, []),
        ({"GEMINI_API_KEY": KEY, "MODEL_PROVIDER": "off"}, False, []),
        ({"GEMINI_API_KEY": KEY, "MODEL_PROVIDER": "openai"}, False, ["MODEL_API_KEY"]),
        ({"MODEL_PROVIDER": "openai", "MODEL_API_KEY": KEY}, True, []),
        ({"MODEL_PROVIDER": "openai", "MODEL_URL": "http://127.0.0.1:9"}, True, []),
        ({"MODEL_URL": "http://127.0.0.1:9"}, False, ["GEMINI_API_KEY"]),
    ],
)
def test_a_model_is_on_when_its_provider_has_what_it_needs_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    variables: Mapping[str, str],
    on: bool,  # noqa: FBT001
    missing: list[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config.settings.cache_clear()
    models.model.cache_clear()
    standing = models.standing()
    assert (standing.on, standing.missing) == (on, missing)
    assert (models.model() is not None) == on
    assert (standing.name is not None) == on
    assert KEY not in repr(standing)


def test_the_defaults_are_the_ones_that_the_docs_name() -> None:
    assert (gemini.MODEL, gemini.EMBEDDING_MODEL) == ("gemini-3.5-flash-lite", "gemini-embedding-2")
    assert (openai_compatible.MODEL, openai_compatible.EMBEDDING_MODEL) == ("gpt-5.6-luna", "text-embedding-3-small")
