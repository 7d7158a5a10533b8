"""Addresses and refusals of InfluxDB, without a server."""

from __future__ import annotations

import pytest

from historian.errors import AccessDenied, ConfigError, InvalidBatch, StoreUnavailable
from historian.stores.influx.address import InfluxAddress, clean_secret, parse_address
from historian.stores.influx.refusals import refusal

HERE = InfluxAddress("http://127.0.0.1:8086", "north", "raw", "")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("influxdb://127.0.0.1:8086/north?bucket=raw", HERE),
        ("influxdb://127.0.0.1/north?bucket=raw", HERE),
        (
            "influxdb+https://influx.plant/my%20org?bucket=a%2Fb",
            InfluxAddress("https://influx.plant:8086", "my org", "a/b", ""),
        ),
        ("influxdb://bridge@influx:9000/north", InfluxAddress("http://influx:9000", "", "north", "bridge")),
        ("influxdb://influx/north/two_years", InfluxAddress("http://influx:8086", "", "north/two_years", "")),
        ("influxdb://[::1]:8086/north", InfluxAddress("http://[::1]:8086", "", "north", "")),
    ],
)
def test_an_address_names_a_version_by_its_form(url: str, address: InfluxAddress) -> None:
    """With a bucket it is 2.x, without one 1.x."""
    assert parse_address(url) == address


@pytest.mark.parametrize("url", ["influxdb:///north", "influxdb://host:8086", "influxdb://host?bucket=raw"])
def test_an_incomplete_address_says_how_to_write_it(url: str) -> None:
    """The error shows both forms."""
    with pytest.raises(ConfigError, match=r"HOST:8086/DATABASE for InfluxDB 1.x, or influxdb://HOST:8086/ORG\?bucket="):
        parse_address(url)


def test_only_requests_to_this_machine_are_not_compressed() -> None:
    """A host name may be on the network."""
    bases = ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://10.0.0.1:1", "http://influx:1"]
    assert [InfluxAddress(base, "", "", "").is_local for base in bases] == [True, True, True, False, False]


def test_each_refusal_says_what_to_do() -> None:
    """The caller waits, splits the batch, or stops until a person acts."""
    kinds = {status: type(refusal(status, "x", {}, HERE)) for status in (400, 401, 403, 404, 413, 422, 429, 500, 503)}
    assert kinds == {
        400: InvalidBatch,
        401: AccessDenied,
        403: AccessDenied,
        404: AccessDenied,
        413: InvalidBatch,
        422: InvalidBatch,
        429: StoreUnavailable,
        500: StoreUnavailable,
        503: StoreUnavailable,
    }
    partial = refusal(400, "partial write: points beyond retention policy dropped=7", {}, HERE)
    assert isinstance(partial, InvalidBatch)
    assert partial.dropped == 7
    busy = refusal(503, "busy", {"Retry-After": "17"}, HERE)
    assert isinstance(busy, StoreUnavailable)
    assert busy.retry_after == 17
    assert "penstock store init" in str(refusal(404, 'bucket "raw" not found', {}, HERE))


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    """Urls are printed, so they must not contain passwords."""
    with pytest.raises(ConfigError, match=r"put it into \[historian\] token") as refused:
        parse_address("influxdb://bridge:opensesame@influx:8086/north")
    assert "opensesame" not in str(refused.value)


ONE = InfluxAddress("http://127.0.0.1:8086", "", "north", "bridge")


@pytest.mark.parametrize("given", ["token==\n", " token==\r\n", "token=="])
def test_a_line_end_after_a_token_is_not_part_of_it(given: str) -> None:
    """Shells, secret files and editors add one."""
    assert clean_secret(given, HERE) == "token=="


def test_a_password_may_have_spaces() -> None:
    """Only the line end is removed."""
    assert clean_secret(" open sésame \n", ONE) == " open sésame "


@pytest.mark.parametrize("given", ["opensesame\nopensesame", "open sesame", "opensésame"])
def test_what_cannot_be_a_token_is_refused_without_showing_it(given: str) -> None:
    """Libraries that refuse it print the header that contains it."""
    with pytest.raises(ConfigError, match="PENSTOCK_HISTORIAN_TOKEN") as refused:
        clean_secret(given, HERE)
    assert "open" not in str(refused.value)
