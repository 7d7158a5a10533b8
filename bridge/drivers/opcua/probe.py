"""What an OPC UA server says of itself: endpoints, product, clock, limits and namespaces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, cast

from asyncua import Client, ua
from asyncua.client.ua_session import UaSession

from bridge.drivers.discovery import Fact, ProbeReport
from bridge.drivers.opcua.client import CONNECT_S, FAILURES, ITEMS_PER_CALL, attributes, not_connected, session_of
from bridge.drivers.opcua.driver import Options
from historian.errors import NotConnected
from historian.plant.connections import ConnectionConfig
from historian.times import utc_now

_FACTS: Final = {
    "product": ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductName,
    "manufacturer": ua.ObjectIds.Server_ServerStatus_BuildInfo_ManufacturerName,
    "software_version": ua.ObjectIds.Server_ServerStatus_BuildInfo_SoftwareVersion,
    "started": ua.ObjectIds.Server_ServerStatus_StartTime,
}
_LIMITS: Final = ("NodesPerRead", "NodesPerBrowse", "MonitoredItemsPerCall", "NodesPerHistoryReadData")


async def probe(connection: ConnectionConfig) -> ProbeReport:
    """See `discovery.Probe`. Endpoints are reported even if the server refuses a session with these options."""
    options = cast(Options, connection.options)
    began = time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_S):
            endpoints = await Client(options.endpoint).connect_and_get_server_endpoints()
    except FAILURES as error:
        raise not_connected(options.endpoint, error) from None
    facts: dict[str, Fact] = {"endpoint": options.endpoint, "response_s": round(time.monotonic() - began, 4)}
    facts["server"] = endpoints[0].Server.ApplicationName.Text if endpoints else None
    namespaces: list[Mapping[str, Fact]] = []
    try:
        async with session_of(options, connection.root) as session:
            facts |= {"session": "accepted", **await _facts(session)}
            namespaces = await _namespaces(session)
    except NotConnected as error:
        facts["session"] = str(error)
    tables = {"endpoints": [_endpoint(each) for each in endpoints], "namespaces": namespaces}
    return ProbeReport(facts, tables, ok=facts["session"] == "accepted")


async def _facts(session: UaSession) -> dict[str, Fact]:
    limits = [getattr(ua.ObjectIds, f"Server_ServerCapabilities_OperationLimits_Max{name}") for name in _LIMITS]
    values = await _values(session, [*_FACTS.values(), *limits])
    named = {name: _fact(value) for name, value in zip([*_FACTS, *map(_limit_name, _LIMITS)], values, strict=True)}
    before = utc_now()
    [clock] = await _values(session, [ua.ObjectIds.Server_ServerStatus_CurrentTime])
    middle = before + (utc_now() - before) / 2
    server_time = _fact(clock)
    ahead = (server_time - middle).total_seconds() if isinstance(server_time, datetime) else None
    return {**named, "server_time": server_time, "clock_ahead_s": None if ahead is None else round(ahead, 3)}


async def _namespaces(session: UaSession) -> list[Mapping[str, Fact]]:
    [uris] = await _values(session, [ua.ObjectIds.Server_NamespaceArray])
    return [{"index": number, "uri": str(uri)} for number, uri in enumerate(uris)] if isinstance(uris, list) else []


async def _values(session: UaSession, numbers: list[int]) -> list[object]:
    nodes = [ua.NodeId(number) for number in numbers]
    return await attributes(session, nodes, ua.AttributeIds.Value, size=ITEMS_PER_CALL)


def _limit_name(name: str) -> str:
    return "max" + "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _fact(value: object) -> Fact:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return value if isinstance(value, (str, int, float)) else None


def _endpoint(endpoint: ua.EndpointDescription) -> Mapping[str, Fact]:
    tokens = sorted({token.TokenType.name for token in endpoint.UserIdentityTokens or ()})
    return {
        "url": endpoint.EndpointUrl,
        "mode": endpoint.SecurityMode.name.rstrip("_"),
        "policy": (endpoint.SecurityPolicyUri or "").rpartition("#")[2],
        "users": ", ".join(tokens),
    }
