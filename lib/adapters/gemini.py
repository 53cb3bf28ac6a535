"""Google's Gemini: a JSON answer to a prompt, and vectors for texts.

The key goes in a header, never into an address, and of a refusal only its status is told. The answer is held to a JSON
Schema by Gemini itself; whoever asked checks it again.

Sources: https://ai.google.dev/api/generate-content (``generationConfig.responseJsonSchema``, ``systemInstruction``),
https://ai.google.dev/gemini-api/docs/structured-output, https://ai.google.dev/api/embeddings (``batchEmbedContents``),
https://ai.google.dev/gemini-api/docs/embeddings (what an embedding is for: ``taskType``, and words before the text
since version 2), https://ai.google.dev/gemini-api/docs/deprecations (which models there are).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import BaseModel

from lib.adapters import ModelAccess, NoAnswer, ask, read

URL = "https://generativelanguage.googleapis.com/v1beta"
MODEL = "gemini-3.5-flash-lite"
EMBEDDING_MODEL = "gemini-embedding-2"

_WITH_TASK_TYPE = "gemini-embedding-001"
"""Told in a field what an embedding is for; its successors are told in words."""


class _Part(BaseModel):
    text: str = ""
    thought: bool = False


class _Content(BaseModel):
    parts: list[_Part]


class _Candidate(BaseModel):
    content: _Content


class _Generated(BaseModel):
    candidates: list[_Candidate]

    @property
    def text(self) -> str:
        """What the first candidate says, without what it thought."""
        return "".join(part.text for each in self.candidates[:1] for part in each.content.parts if not part.thought)


class _Embedding(BaseModel):
    values: list[float]


class _Embedded(BaseModel):
    embeddings: list[_Embedding]


class Gemini:
    """Asks Gemini.

    Args:
        client: without credentials of its own.
        access: with the key of an account.
    """

    def __init__(self, client: httpx.AsyncClient, access: ModelAccess) -> None:
        self._client = client
        self._headers = {"x-goog-api-key": access.key}
        self.seconds = access.seconds
        self._url = access.url or URL
        self.name = access.name or MODEL
        self.embedding_model = access.embedding_model or EMBEDDING_MODEL
        self.dimension = access.dimension

    async def complete(self, instructions: str, data: str, schema: Mapping[str, Any]) -> str:
        """The text of a JSON document by ``schema``: what ``instructions`` say, done to ``data``.

        Raises:
            NoAnswer: there is none.
        """
        body = {
            "systemInstruction": {"parts": [{"text": instructions}]},
            "contents": [{"role": "user", "parts": [{"text": data}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": schema},
        }
        text = read(_Generated, await self._post(f"models/{self.name}:generateContent", body)).text
        if not text:
            raise NoAnswer("an empty answer")
        return text

    async def embed(self, texts: Sequence[str], *, as_question: bool = False) -> list[list[float]]:
        """A vector for each text, in their order.

        Args:
            texts: a batch of them.
            as_question: they are searched with, not found.

        Raises:
            NoAnswer: there are none, or not one for each.
        """
        requests = [self._embedding_of(text, as_question=as_question) for text in texts]
        answer = await self._post(f"models/{self.embedding_model}:batchEmbedContents", {"requests": requests})
        vectors = [each.values for each in read(_Embedded, answer).embeddings]
        if [len(vector) for vector in vectors] != [self.dimension] * len(texts):
            raise NoAnswer("other vectors than were asked for")
        return vectors

    def _embedding_of(self, text: str, *, as_question: bool) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": f"models/{self.embedding_model}",
            "outputDimensionality": self.dimension,
        }
        if self.embedding_model == _WITH_TASK_TYPE:
            task = "RETRIEVAL_QUERY" if as_question else "RETRIEVAL_DOCUMENT"
            return request | {"taskType": task, "content": {"parts": [{"text": text}]}}
        said = f"task: search result | query: {text}" if as_question else f"title: none | text: {text}"
        return request | {"content": {"parts": [{"text": said}]}}

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        return await ask(self._client, f"{self._url}/{path}", self._headers, body, self.seconds)
