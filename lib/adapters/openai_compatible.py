"""OpenAI, and every server that speaks its protocol: a JSON answer to a prompt, and vectors for texts.

Chat Completions rather than Responses, because the others speak that. The key goes in the header that is meant for it,
and of a refusal only its status is told. ``strict`` holds the answer to the schema where a server knows the word;
whoever asked checks it again.

Sources: https://platform.openai.com/docs/api-reference/chat/create (``response_format``),
https://platform.openai.com/docs/guides/structured-outputs (every property required, ``additionalProperties: false``,
``refusal``), https://platform.openai.com/docs/api-reference/embeddings/create (``dimensions``),
https://developers.openai.com/api/docs/models/gpt-5.6-luna (the cheap one; it takes Chat Completions).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import BaseModel

from lib.adapters import ModelAccess, NoAnswer, ask, read

URL = "https://api.openai.com/v1"
MODEL = "gpt-5.6-luna"
EMBEDDING_MODEL = "text-embedding-3-small"


class _Message(BaseModel):
    content: str | None = None
    """Null when the model refuses."""


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    choices: list[_Choice]


class _Embedding(BaseModel):
    index: int
    embedding: list[float]


class _Embedded(BaseModel):
    data: list[_Embedding]


class OpenAICompatible:
    """Asks OpenAI or its like.

    Args:
        client: without credentials of its own.
        access: its key may be empty, where a server wants none.
    """

    def __init__(self, client: httpx.AsyncClient, access: ModelAccess) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {access.key}"} if access.key else {}
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
            "model": self.name,
            "messages": [{"role": "system", "content": instructions}, {"role": "user", "content": data}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        }
        choices = read(_Completion, await self._post("chat/completions", body)).choices
        if not choices or not choices[0].message.content:
            raise NoAnswer("an empty answer")
        return choices[0].message.content

    async def embed(self, texts: Sequence[str], *, as_question: bool = False) -> list[list[float]]:
        """A vector for each text, in their order.

        Args:
            texts: a batch of them.
            as_question: they are searched with, not found; to these models it makes no difference.

        Raises:
            NoAnswer: there are none, or not one for each.
        """
        del as_question
        body = {
            "model": self.embedding_model,
            "input": texts,
            "dimensions": self.dimension,
            "encoding_format": "float",
        }
        listed = read(_Embedded, await self._post("embeddings", body)).data
        vectors = {each.index: each.embedding for each in listed if len(each.embedding) == self.dimension}
        if vectors.keys() != set(range(len(texts))):
            raise NoAnswer("other vectors than were asked for")
        return [vectors[index] for index in range(len(texts))]

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        return await ask(self._client, f"{self._url}/{path}", self._headers, body, self.seconds)
