"""Drive the exchange through its official SDKs, and judge each answer three times over.

The SDK's own models, the official OpenAPI document, and the number formats that neither of the
two looks at.
"""

import functools
import inspect
import json
import re
from typing import Any

import httpx

from tests.conformance.simulator import Key
from tests.lab.exchange.schemas import check_answer, check_numbers, openapi

try:
    import kalshi_python_async
    import kalshi_python_sync
    from kalshi_python_sync import KalshiAuth
except ImportError as error:
    raise ImportError(f"{error.name}: the official SDKs are set up by `make test`") from error

FLAVOURS = {"sync": kalshi_python_sync, "async": kalshi_python_async}


@functools.cache
def operations() -> dict[str, tuple[str, str]]:
    """Return (method, path) of every operation of the official document."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in openapi()["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "delete", "patch")
    }


class Sdk:
    """One client of one flavour; `driven` collects the operations that were answered."""

    def __init__(self, flavour: str, base: str, key: Key) -> None:
        module = FLAVOURS[flavour]
        configuration = module.Configuration(host=base)
        configuration.api_key_id = key.key_id
        configuration.private_key_pem = key.pem
        self._client = module.KalshiClient(configuration)
        self._refusal = module.ApiException
        self._is_async = flavour == "async"
        self._http = httpx.AsyncClient()
        self._base = base
        self.auth = KalshiAuth(key.key_id, key.pem)
        self.driven: set[str] = set()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        if self._is_async:
            await self._client.close()
        else:
            self._client.rest_client.pool_manager.clear()

    async def ask(self, operation: str, body: dict[str, Any] | None = None, **given: Any) -> Any:
        """Return the JSON of a successful call, after every check of it."""
        answer = await self._call(operation, body, given)
        method, path = operations()[operation]
        self.driven.add(operation)
        declared = openapi()["paths"][path][method.lower()]["responses"]
        assert str(answer.status_code) in declared, f"{operation}: {answer.status_code}"
        if not {"content", "$ref"} & set(declared[str(answer.status_code)]):
            assert answer.raw_data == b"", f"{operation}: expected no body"
            return None
        assert answer.data is not None, f"{operation}: {answer.status_code} is not in the SDK"
        value = json.loads(answer.raw_data)
        check_answer(method, path, answer.status_code, value)
        check_numbers(value)
        return value

    async def refused(
        self, operation: str, body: dict[str, Any] | None = None, **given: Any
    ) -> tuple[int, Any]:
        """Return status and JSON of a call that the exchange must refuse."""
        try:
            answer = await self._call(operation, body, given)
        except self._refusal as error:
            self.driven.add(operation)
            return error.status, json.loads(error.body)
        raise AssertionError(f"{operation}: expected a refusal, got {answer.raw_data!r}")

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        sign: bool = True,
    ) -> httpx.Response:
        """Send what the SDK cannot say: bad types, dead endpoints, broken headers."""
        full = "/trade-api/v2" + path.partition("?")[0]
        signed = self.auth.create_auth_headers(method, full) if sign else {}
        content = None if body is None else json.dumps(body)
        return await self._http.request(
            method,
            self._base + path,
            content=content,
            headers={"Content-Type": "application/json", **signed, **(headers or {})},
        )

    async def _call(self, operation: str, body: Any, given: dict[str, Any]) -> Any:
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower()
        call = getattr(self._client, f"{name}_with_http_info")
        if body is not None:
            [parameter] = [
                each for each in inspect.signature(call).parameters if each.endswith("_request")
            ]
            given = {**given, parameter: body}
        answer = call(**given)
        return await answer if self._is_async else answer
