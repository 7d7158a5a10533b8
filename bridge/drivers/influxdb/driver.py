"""The `influxdb` driver: an archive in a database of InfluxDB 1.x or 2.x, whoever wrote it, or in an export of one.

    [archives.influx]
    driver = "influxdb"
    url = "influxdb://reader@10.0.4.31:8086/plant"
    token = "${INFLUX_PASSWORD}"
    tags = "tags/influx.csv"

    url or path                                  what is read
    influxdb://USER@HOST:8086/DATABASE           InfluxDB 1.x; DATABASE/POLICY for another retention policy
    influxdb://HOST:8086/ORG?bucket=BUCKET       InfluxDB 2.x
    influxdb+https://                            either, encrypted
    path = "export/*.csv"                        annotated CSV, as Flux and `influx query --raw` of either write it

A tag's address is what line protocol has: measurement, Influx tags and field, `vibration,machine=c101,axis=h rms`. The
field is `value` if there is none. A series may have more tags, but only one may match; `firmware=*` reads series that
differ in that tag as one. With `pattern`, addresses are parts between points or slashes:

    pattern = "vibration,machine={1},axis={2} {3}"      # the address is then c101.h.rms

`quality` names a field with the quality of each point: `{ column = "status", kind = "opc-da" }`; without it, every
point is Good. Text and Boolean fields become text for state points, and numbers otherwise (true is 1).

Read-only: nothing but GET /query is sent, so a user or token that may only read suffices. InfluxDB 2.x answers InfluxQL
too, for buckets with a mapping (those named DATABASE/POLICY, and newer servers map every bucket). Answers are read in
chunks of `page_rows` rows; an error in the middle of an answer, or an answer that was cut off, fails the read. What
Penstock itself wrote is copied with `penstock store copy`, which keeps waveforms.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, cast

from pydantic import AfterValidator, Field, SecretStr, model_validator

from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.influxdb.places import Place, checked_pattern, place_by, place_of
from bridge.drivers.protocols import Driver, opened_by
from bridge.drivers.tls import Tls
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig
from historian.plant.keys import Model
from historian.stores.influx.address import InfluxAddress, parse_address
from historian.times import Duration


def _url(url: str) -> str:
    try:
        parse_address(url)
    except ConfigError as error:
        raise ValueError(str(error).replace("historian.url", "url").replace("[historian] ", "")) from None
    return url


class Options(Model):
    """Keys of `[archives.NAME]` with `driver = "influxdb"`."""

    url: Annotated[str, AfterValidator(_url)] | None = Field(
        None,
        description="influxdb://USER@HOST:8086/DATABASE for 1.x, influxdb://HOST:8086/ORG?bucket=BUCKET for 2.x; "
        "influxdb+https:// for TLS.",
    )
    path: str | None = Field(
        None, description="Files of annotated CSV in place of a server: export/*.csv, also packed."
    )
    token: SecretStr = Field(SecretStr(""), description="2.x: a token. 1.x: the user's password. Use ${NAME}.")
    tls: Tls | None = Field(None, description="Authorities to trust and our certificate, for influxdb+https.")
    pattern: Annotated[str, AfterValidator(checked_pattern)] | None = Field(
        None, description='What an address means, by its parts: "vibration,machine={1},axis={2} {3}".'
    )
    quality: Quality | None = Field(
        None, description="Field and vocabulary of qualities: { column, kind }; all points are Good if absent."
    )
    timeout: Duration = Field(timedelta(minutes=1), description="Longest silence of the server.")
    page_rows: int = Field(50_000, ge=1, le=1_000_000, description="Number of samples to read at a time.")

    @property
    def address(self) -> InfluxAddress:
        """The url, parsed."""
        return parse_address(str(self.url))

    @model_validator(mode="after")
    def _agree(self) -> Options:
        if (self.url is None) == (self.path is None):
            raise ValueError("give url for a server or path for exported files, one of them")
        if self.path is not None and self.quality is not None:
            raise ValueError("quality is another field of a point; an export has a row a field, so leave it out")
        return self


class Columns(Model):
    """The driver adds no column to the tag list."""


def places_of(connection: ConnectionConfig) -> dict[str, Place]:
    """Return tag -> where its samples are. Raises `ConfigError` for addresses that cannot be."""
    pattern = cast(Options, connection.options).pattern if connection.options is not None else None
    places, problems = dict[str, Place](), list[Problem]()
    for tag in connection.tags:
        try:
            places[tag.name] = place_of(tag.address) if pattern is None else place_by(pattern, tag.address)
        except ValueError as error:
            problems.append(Problem(*tag.listed, str(error)))
    if problems:
        raise ConfigError(problems)
    return places


def _check(connection: ConnectionConfig) -> None:
    places_of(connection)


driver: Final = Driver(
    options=Options,
    address=Columns,
    archive=opened_by("bridge.drivers.influxdb.opening:archive_of"),
    check_tags=_check,
)
