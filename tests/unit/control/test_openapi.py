"""The document against the application: same routes, same shapes, same statuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.approvals.states import ApprovalState
from gateway.control.api import Api
from gateway.control.connectors_api import ConnectorsApi
from gateway.control.exchange import ExchangeApi
from gateway.control.probes import OPENAPI_FILE, Probes
from gateway.control.revocation import RevocationApi
from tests.unit.control.plane import PEOPLE, Plane, run

DOCUMENT: dict[str, Any] = orjson.loads(OPENAPI_FILE.read_bytes())


def test_the_document_names_the_routes_and_no_others(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        parts = (Api, RevocationApi, ExchangeApi, ConnectorsApi, Probes)
        routes = [route for part in parts for route in part(plane.services).routes()]
        served = {
            (route.path.replace(":path}", "}"), method.lower())
            for route in routes
            for method in (route.methods or set()) - {"HEAD"}
        }
        told = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
        assert served == told

    run(tmp_path, body)


def test_references_and_names_are_sound() -> None:
    text = OPENAPI_FILE.read_text()
    for reference in re.findall(r'"#/([^"]+)"', text):
        place: Any = DOCUMENT
        for part in reference.split("/"):
            place = place[part]
    ids = re.findall(r'"operationId": "(\w+)"', text)
    assert len(ids) == len(set(ids)) == len(re.findall(r'"summary"', text))
    assert DOCUMENT["components"]["schemas"]["State"]["enum"] == [s.value for s in ApprovalState]


def test_docs_name_every_route() -> None:
    text = Path("docs/api.md").read_text()
    assert [path for path in DOCUMENT["paths"] if path not in text] == []


def test_answers_have_the_shapes_of_the_document(tmp_path: Path) -> None:
    """Goal: the document is true. Method: validate real answers against its schemas."""

    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking(quorum=2))
        session = {
            "op": "session.open", "session": "s1", "worker": 0, "generation": 1,
            "principal": PEOPLE["bot"].to_wire(), "target": "orders", "level": "write",
            "client": "10.0.0.9:1", "opened_us": 1_700_000_000_000_000,
        }  # fmt: skip
        assert (await plane.request(session, 1)) == {"ok": True, "resync": True}
        calls = [
            ("GET", "/v1/whoami", "/v1/whoami"),
            ("GET", "/v1/approvals", "/v1/approvals"),
            ("GET", "/v1/approvals/{id}", f"/v1/approvals/{ticket.id}"),
            ("POST", "/v1/approvals/{id}/approve", f"/v1/approvals/{ticket.id}/approve"),
            ("POST", "/v1/approvals/{id}/deny", f"/v1/approvals/{ticket.id}/deny"),
            ("POST", "/v1/approvals/{id}/cancel", f"/v1/approvals/{ticket.id}/cancel"),
            ("GET", "/v1/sessions", "/v1/sessions"),
            ("GET", "/v1/sessions/{id}", "/v1/sessions/s1"),
            ("GET", "/v1/sessions/{id}", "/v1/sessions/none"),
            ("GET", "/readyz", "/readyz"),
        ]
        async with plane.http("ann") as ann:
            for method, path, url in calls:
                answer = await ann.request(method, url)
                told = DOCUMENT["paths"][path][method.lower()]["responses"][str(answer.status_code)]
                if "$ref" in told:
                    told = DOCUMENT["components"]["responses"]["Problem"]
                ((media, content),) = told["content"].items()
                assert answer.headers["content-type"] == media, url
                check(answer.json(), content["schema"], url)

    run(tmp_path, body)


def test_probes_answer_without_a_person(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http() as http:
            assert (await http.get("/healthz")).text == "ok\n"
            assert (await http.get("/readyz")).json()["ready"] is True
            assert "postern_statements_total" in (await http.get("/metrics")).text
            assert (await http.get("/openapi.json")).json() == DOCUMENT
            assert not [r for r in plane.records if r["kind"] == "admin.action"][1:]
            (plane.data_dir / "policy" / "active.json").write_bytes(b"{}")
            plane.epochs.bump(0)
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()["ready"]) == (503, False)

    run(tmp_path, body)


def test_metrics_beyond_loopback_are_for_people_with_a_role(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        plane.services.config.control.listen = "0.0.0.0:8433"  # type: ignore[misc]
        await plane.desk.stop()
        from gateway.control.app import build_app

        plane.app = build_app(plane.services, plane.stop)
        for who, status in ((None, 401), ("ann", 403), ("bot", 403), ("sam", 200)):
            async with plane.http(who) as http:
                assert (await http.get("/metrics")).status_code == status

    run(tmp_path, body)


def check(value: object, schema: dict[str, Any], where: str) -> None:
    """A validator of the little JSON Schema the document uses."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        assert value in schema["enum"], where
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    python: dict[str, Any] = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
        "object": dict, "null": type(None),
    }  # fmt: skip
    assert not kinds or any(isinstance(value, python[kind]) for kind in kinds), (where, value)
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"]), where
        for name, item in value.items():
            check(item, schema["properties"][name], f"{where}.{name}")
    if isinstance(value, list):
        for item in value:
            check(item, schema["items"], f"{where}[]")


def test_the_validator_can_fail() -> None:
    with pytest.raises(AssertionError):
        check({"type": "x"}, {"$ref": "#/components/schemas/Problem"}, "")
    with pytest.raises(AssertionError):
        check("SOON", {"$ref": "#/components/schemas/State"}, "")
