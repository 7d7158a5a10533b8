"""The keys of `plant.toml` as strict pydantic models: unknown keys are errors.

A model defines the keys of one table of the file; `historian.plant.load` joins them with the tag lists, checks
relations between tables, and resolves everything into a `Plant`. The JSON Schema for editors is generated from them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, StringConstraints, field_validator, model_validator

from historian.plant.alarms import Alarm
from historian.plant.keys import Model, Name
from historian.stated import Rate
from historian.states import listing_problem
from historian.times import Duration, Instant

TagName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=256, strip_whitespace=True)]
"""Name of a tag, as in the historian: any printable text."""


class Site(Model):
    """The plant as a whole."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)] = Field(
        description="Name of the Feast project."
    )
    state: str = Field(".penstock", description="Directory for spool, lake, feature tables and registry.")
    replacements: str = Field(
        "",
        description="Path of an event table (CSV) whose columns such as bearing.balls or speed_rpm are changes to "
        "assets, relative to plant.toml.",
    )


class Historian(Model):
    """Where samples are stored. Without a url: a Delta Lake directory under the site's state directory."""

    url: str = Field(
        "",
        description="file:///PATH of a Delta Lake directory; influxdb://HOST:8086/DATABASE for InfluxDB 1.x, "
        "influxdb://HOST:8086/ORG?bucket=BUCKET for 2.x; influxdb+https:// for TLS.",
    )
    token: str = Field("", description="InfluxDB 2.x: a token. 1.x: the password of the user in the url. Use ${NAME}.")
    write_features: tuple[Name, ...] = Field(
        (),
        description="Features whose values are written to the store as well, as samples of tags such as "
        'c101.de_h.rms_ac, for tools that read it: ["rms_ac", "peak"].',
    )


class Online(Model):
    """Where the newest features are kept for serving. Without a url: a SQLite file under the site's state directory."""

    url: str = Field(
        "", description="redis://USER@HOST:6379/0, or rediss:// for TLS; ?ssl_ca_certs=PATH names an authority."
    )
    password: str = Field(
        "", description="Password of the user in the url. Use ${NAME}, or set PENSTOCK_ONLINE_PASSWORD."
    )
    log: Duration | None = Field(
        None, description="How long served values are kept, for penstock consistency; not at all if absent."
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        if url and not re.fullmatch(r"rediss?://([^:@/]+@)?[^@/]+(/\d+)?(\?\S*)?", url):
            raise ValueError("write redis://HOST:6379/0, or rediss:// for TLS; the password goes into password")
        return url


class SpoolBounds(Model):
    """How much a bridge may keep on its disk of each source while the store cannot be written."""

    max_size: ByteSize = Field(
        ByteSize(8 << 30),
        gt=0,
        description="Bytes of one source's batches, such as 8GiB: eleven hours of two 25.6 kHz points in float32.",
    )
    max_age: Duration | None = Field(
        None, description="Age of the oldest batch that waits, such as 3d; only max_size counts if absent."
    )
    when_full: Literal["refuse-new", "discard-oldest"] = Field(
        "refuse-new",
        description="refuse-new: live sources are not read until there is room. discard-oldest: the oldest batches of "
        "the source are discarded and counted. Archives always wait.",
    )


class Zones(Model):
    """Limits of the evaluation zones of a velocity RMS.

    A: newly commissioned; B: unrestricted long-term operation; C: limited operation; D: damage possible.

    Penstock has no table of limits: they depend on the standard, its edition, and the machine's group and support; and
    pages that quote them often give the figures of one standard under the name of another.
    """

    limits: tuple[float, float, float] = Field(description="Limits between zones A and B, B and C, C and D, in mm/s.")
    source: str = Field(description="Standard that the limits are from, with its year: ISO 20816-3:2022.")
    machine: str = Field(
        min_length=1, description="Class of the machine that the limits are for: group 2, rigid support."
    )

    @model_validator(mode="after")
    def _agree(self) -> Zones:
        low, middle, high = self.limits
        if not 0 < low < middle < high:
            raise ValueError(f"limits {list(self.limits)} must ascend from above 0")
        if not re.search(r"\b(19|20)\d\d\b", self.source):
            raise ValueError(f'"{self.source}" names no edition; write the standard with its year: ISO 20816-3:2022')
        return self


class Point(Model):
    """A role on an asset class, filled by one tag of each asset."""

    kind: Literal["vibration", "process", "speed", "state"] = Field(
        description="A waveform, a process value, a shaft speed, or text."
    )
    unit: str = Field("", description="Unit of the values after scale and offset, such as g, mm/s, degC, rpm.")
    sample_rate: Annotated[Rate, Field(gt=0, le=250_000)] | None = Field(
        None, description='Sample rate in Hz, also as a fraction: "25600/3"; required for vibration.'
    )
    range: tuple[float, float] | None = Field(
        None, description="Lowest and highest valid value; samples outside go to quarantine, waveforms are marked."
    )
    max_staleness: Duration = Field(
        timedelta(minutes=10), description="How long the last value of a process tag counts as its current one."
    )
    states: dict[Name, float | str] = Field(
        {},
        description="Names of the states whose duration becomes a feature, each with its number or text (1, 1.0 and "
        'true are one state): { off = 0, on = 1 }, { running = "RUN" }. For state and process points.',
    )

    teeth: tuple[Annotated[int, Field(ge=3)], ...] = Field(
        (), description="For the group gears: numbers of teeth of the gears on the shaft under the point."
    )
    zones: Zones | None = Field(None, description="Limits of the velocity RMS, for a feature and for plots.")

    @model_validator(mode="after")
    def _agree(self) -> Point:
        if (self.kind == "vibration") != (self.sample_rate is not None):
            raise ValueError("sample_rate belongs to vibration points, and every vibration point needs one")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range {list(self.range)} is empty; write [low, high]")
        if self.teeth and self.kind != "vibration":
            raise ValueError(f"teeth belong to vibration points, not to {self.kind} ones")
        if self.zones and self.kind != "vibration":
            raise ValueError(f"zones belong to vibration points, not to {self.kind} ones")
        if self.states and self.kind not in ("state", "process"):
            raise ValueError(f"states belong to state and process points, not to {self.kind} ones")
        if problem := listing_problem(self.states, numbers=self.kind == "process"):
            raise ValueError(problem)
        return self


Band = tuple[Annotated[float, Field(ge=0.1)], Annotated[float, Field(le=250_000)]]
"""Lower and upper end of a frequency band in Hz; half-open, so that adjoining bands add up."""

BANDS: Final[tuple[Band, ...]] = ((10, 1000), (1000, 2000), (2000, 5000), (5000, 10000))


class FeatureSet(Model):
    """Windowed features over some points of one class; becomes one feature view `<class>_<name>`."""

    window: Duration = Field(description="Length of a window, such as 100ms or 10m.")
    hop: Duration | None = Field(None, description="Distance between window starts; the window itself if absent.")
    points: tuple[Name, ...] = Field(min_length=1, description="All vibration, or none.")
    features: tuple[Name, ...] = Field(
        (),
        description="Groups of features: time, spectrum, orders, envelope, kurtogram, verdict, tracking, gears, "
        "peakhold, cepstrum, integrated of vibration points, process of numbers, states, and those of other packages. "
        "If absent: time and spectrum, process, states for points with states.",
    )
    bands: tuple[Band, ...] = Field(
        BANDS, description="For the group spectrum: [low, high] in Hz; each becomes a feature."
    )
    speed: Name | None = Field(
        None,
        description="For orders and envelope: the point of kind speed that measures the shaft's speed, in rpm or Hz.",
    )
    align: Literal["epoch", "burst"] = Field(
        "epoch", description="Windows lie on the epoch's grid, or start where each burst starts."
    )
    ttl: Duration | None = Field(None, description="A feature older than this counts as missing; unlimited if absent.")

    @model_validator(mode="after")
    def _agree(self) -> FeatureSet:
        if self.hop is not None and self.hop > self.window:
            raise ValueError("hop is longer than window: samples between windows would be ignored")
        if self.hop is not None and self.window % self.hop:
            raise ValueError("window must be a whole number of hops, so that every sample lies in as many windows")
        if len(set(self.points)) < len(self.points):
            raise ValueError("points names a point twice")
        if len(set(self.features)) < len(self.features):
            raise ValueError("features names a group twice")
        if len(set(self.bands)) < len(self.bands) or any(low >= high for low, high in self.bands):
            raise ValueError("bands has an empty band, or one twice; write [[low, high], ...] in Hz")
        return self


class AssetClass(Model):
    """A template: the points and features every asset of this class has."""

    points: dict[Name, Point] = Field(min_length=1, description="Points of the class, by name.")
    features: dict[Name, FeatureSet] = Field({}, description="Feature sets of the class, by name.")
    alarms: dict[Name, Alarm] = Field({}, description="Alarm rules of the class, by name.")


class StatedOrders(Model):
    """The fault frequencies of a bearing as its manufacturer states them, in multiples of the shaft's speed."""

    bpfo: float = Field(gt=0, description="Frequency of a fault of the outer race (BPFO).")
    bpfi: float = Field(gt=0, description="Frequency of a fault of the inner race (BPFI).")
    bsf: float = Field(gt=0, description="Spin frequency of a rolling element (BSF), counted once per turn.")
    ftf: float = Field(gt=0, description="Cage.")


class Bearing(Model):
    """Geometry of the rolling bearing under the vibration points; lengths in one unit, the angle in degrees."""

    balls: int = Field(ge=3, description="Number of rolling elements.")
    ball_diameter: float = Field(gt=0, description="Diameter of a rolling element.")
    pitch_diameter: float = Field(
        gt=0, description="Diameter of the circle through the centres of the rolling elements."
    )
    contact_angle: float = Field(
        0, ge=0, lt=90, description="Contact angle in degrees; 0 for deep-groove ball bearings."
    )
    orders: StatedOrders | None = Field(
        None,
        description="Stated fault frequencies. If they contradict the geometry, no fault is searched for.",
    )


class PointFacts(Model):
    """Facts about a point of one asset that replace those of its class, such as the range of another sensor."""

    range: tuple[float, float] | None = Field(None, description="See the key of the class's point.")
    states: dict[Name, float | str] | None = Field(None, description="Other values for the names that the class lists.")
    zones: Zones | None = Field(None, description="Other limits; the class's point must have some.")


class Facts(Model):
    """Facts about a machine, of an asset and of a change to it."""

    bearing: Bearing | None = Field(None, description="For features that look for bearing faults.")
    bearings: dict[Name, Bearing] = Field(
        {}, description="Bearing by vibration point, if the asset has several; takes precedence over bearing."
    )
    speed_rpm: float | None = Field(
        None,
        gt=0,
        description="Fixed speed of the shaft in rpm; used without a speed tag, else compared with it.",
    )
    points: dict[Name, PointFacts] = Field(
        {}, description="Range, states and zones by point, where the class's differ."
    )


class Change(Facts):
    """Facts that hold from an instant on; each replaces the fact of the same key, all others stay."""

    since: Instant = Field(description="From when on, with a zone: 2026-03-02T08:00:00Z.")
    unknown: tuple[str, ...] = Field(
        (), description='Facts that are unknown from then on: "bearing", "speed_rpm" or "bearings.POINT".'
    )

    @model_validator(mode="after")
    def _agree(self) -> Change:
        given = {*self.model_fields_set, *(f"bearings.{point}" for point in self.bearings)}
        for name in self.unknown:
            if name not in ("bearing", "speed_rpm") and not name.startswith("bearings."):
                raise ValueError(f"unknown lists {name!r}; it takes bearing, speed_rpm and bearings.POINT")
            if name in given:
                raise ValueError(f"unknown lists {name}, which the same change gives")
        if not given - {"since"} - ({"unknown"} if not self.unknown else set()):
            raise ValueError("a change has no fact; give it a bearing, a speed_rpm, points or unknown")
        return self


class Asset(Facts):
    """A machine of the plant."""

    model_config = ConfigDict(populate_by_name=True)

    asset_class: Name = Field(alias="class", description="Name of the asset's class.")
    owner: str = Field("", description="Person or team responsible for the asset.")
    changes: tuple[Change, ...] = Field(
        (), description="Later facts, each with since: what the asset says itself holds until the first of them."
    )


class Connection(BaseModel):
    """A source or an archive. All other keys are those of the driver, which checks them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    driver: str = Field(description="Name of the driver.")
    tags: str = Field(description="Path of the tag list, a CSV file, relative to plant.toml.")

    @property
    def options(self) -> dict[str, Any]:
        """The driver's own keys, unchecked."""
        return dict(self.model_extra or {})


class PlantFile(Model):
    """The plant file, `plant.toml`."""

    site: Site
    historian: Historian = Historian(url="")
    online: Online = Online(url="")
    spool: SpoolBounds = SpoolBounds()
    classes: dict[Name, AssetClass] = Field(min_length=1, description="Asset classes, by name.")
    assets: dict[Name, Asset] = Field(min_length=1, description="Assets, by name.")
    sources: dict[Name, Connection] = Field({}, description="Live connections, by name.")
    archives: dict[Name, Connection] = Field({}, description="Legacy historians and folders of files, by name.")


class TagRow(Model):
    """The columns every tag list has; a driver adds its own."""

    tag: TagName = Field(description="Name under which samples are stored.")
    asset: Name = Field(description="Name of the asset that it belongs to.")
    point: Name = Field(description="The point of the asset's class that it fills; one tag at a time.")
    address: str = Field(min_length=1, description="Address for the driver: a node id, a register, a column.")
    scale: float = Field(1.0, description="Factor: value = raw * scale + offset.")
    offset: float = Field(0.0, description="Offset in the unit of the point; see scale.")
    since: Instant | None = Field(
        None, description="From when on the tag fills its point, 2026-03-02T08:00:00Z; until then the one before does."
    )

    @model_validator(mode="after")
    def _agree(self) -> TagRow:
        if self.scale == 0:
            raise ValueError("scale 0 would erase every value")
        return self
