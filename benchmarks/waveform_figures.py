"""The figures about the bridge and about waveforms, and what `penstock size` reckons with."""

from __future__ import annotations

from typing import Final

from benchmarks.figure import Figure


def _waveform_write(values: str) -> Figure:
    return Figure(
        "lake_waveform_write_vs_samples" if values == "int16" else f"lake_waveform_write_vs_samples_{values}",
        "lake_waveforms",
        "lake_waveforms",
        f"writing 4 M samples of one channel to the lake as {values} stretches, CPU time",
        "writing them as samples",
        8,
        line="lake_waveform_write_vs_samples",
        where={"values": values},
    )


def _waveform_bytes(values: str, target: float | None) -> Figure:
    return Figure(
        "lake_waveform_bytes" if values == "int16" else f"lake_waveform_bytes_{values}",
        "lake_waveforms",
        "lake_waveforms",
        f"bytes a sample on disk, {values}",
        "",
        target,
        unit="B",
        better="lower",
        line="lake_waveform_bytes",
        key="waveforms",
        where={"values": values},
    )


def _channels(store: str, target: float) -> Figure:
    return Figure(
        f"channels_per_core_{store}",
        "channels",
        "channels",
        "channels of 25.6 kHz float32 that one core of ours carries from an OPC UA server to online features",
        f"with {'the lake' if store == 'lake' else 'InfluxDB 1.6 on the same machine'}",
        target,
        unit="channels",
    )


def _size(name: str, what: str) -> Figure:
    return Figure(name, "sizes", "sizes", f"bytes a sample: {what}", "", unit="B", better="lower", key="bytes")


BRIDGE_FIGURES: Final = (
    Figure(
        "opcua_cpu_vs_handler",
        "opcua_values",
        "opcua_values",
        "receiving 10,000 tags at 1 Hz with the OPC UA driver, up to raw rows, CPU time",
        "asyncua's handler of data changes",
        10,
    ),
    Figure(
        "opcua_history_cpu_vs_asyncua",
        "opcua_history",
        "opcua_history",
        "reading the history of an OPC UA server as an archive, up to raw rows, CPU time of the client",
        "asyncua's `read_raw_history`",
        5,
    ),
    Figure(
        "bridge_core_share",
        "opcua_values",
        "opcua_values",
        "share of a core that `penstock stream` takes for 10,000 tags at 1 Hz, from an OPC UA server to the lake",
        "",
        0.25,
        better="lower",
    ),
    Figure(
        "bridge_peak_memory",
        "opcua_values",
        "opcua_values",
        "its peak memory",
        "",
        200,
        unit="MiB",
        better="lower",
        line="bridge_core_share",
        key="peak_mib",
    ),
    Figure(
        "bridge_freshness_p99",
        "opcua_values",
        "opcua_values",
        "time from a value's timestamp to its write into the lake, 99th percentile",
        "",
        2,
        unit="s",
        better="lower",
        line="bridge_core_share",
        key="freshness_p99_s",
    ),
    Figure(
        "modbus_polls_vs_pymodbus",
        "modbus",
        "modbus",
        "polls of 100 registers a second of a device that takes 1.5 ms, made durable in the spool",
        "pymodbus' requests alone",
        0.9,
    ),
    Figure("modbus_polls_at_once", "modbus", "modbus", "the same of a device that takes no time", "the same"),
    Figure(
        "modbus_block_vs_single",
        "modbus",
        "modbus",
        "registers a second, read in blocks and decoded",
        "a request by pymodbus for each register, not decoded",
        100,
    ),
    Figure("modbus_decode_vs_pymodbus", "modbus", "modbus", "decoding float32", "`convert_from_registers`", 10),
    Figure(
        "verify_rows_per_second",
        "verify",
        "verify",
        "`penstock verify` of 10 M equal samples of 20 tags, both sides read, samples a second of CPU time",
        "",
        2_500_000,
        unit="samples/s a side",
        key="rows_per_second",
    ),
)
WAVEFORM_FIGURES: Final = (
    _channels("lake", 300),
    _channels("influx", 100),
    Figure(
        "influx_waveform_write_vs_samples",
        "influx_waveforms",
        "influx_waveforms",
        "`InfluxStore.write_waveforms` of 4 M float32 samples at 25.6 kHz into 1.6, with its ledger",
        "`InfluxStore.write` of the same, a point a sample",
        15,
    ),
    Figure(
        "influx_waveform_read_vs_samples",
        "influx_waveforms",
        "influx_waveforms",
        "`InfluxStore.read_waveforms` of these, decoded to float64",
        "`InfluxStore.read` of the same, a point a sample",
        20,
    ),
    *(_waveform_write(values) for values in ("int16", "float32")),
    *(_waveform_bytes(values, target) for values, target in (("int16", 2.3), ("float32", None))),
    Figure(
        "year_plot",
        "lake_waveforms",
        "lake_waveforms",
        "`extremes` of 30 days in 2,000 pixels: 43,200 stretches of one channel, 708 M samples, CPU time",
        "reading the samples to arrays",
        100,
    ),
    *(
        Figure(
            f"spool_waveform_overhead_{values}",
            "spool_waveforms",
            "spool_waveforms",
            f"a minute of four 25.6 kHz channels in the edge database, in {values}: bytes on disk",
            "the bytes of the values",
            1.15,
            better="lower",
            line="spool_waveform_overhead",
            where={"values": values},
        )
        for values in ("int16", "float32", "float64")
    ),
    _size("lake_sample_bytes", "process values of 200 tags, once a second, in the lake after compaction"),
    _size("influx_sample_bytes", "the same in InfluxDB 1.6"),
    _size("influx_waveform_bytes", "float32 vibration in InfluxDB 1.6"),
    _size("spool_sample_bytes", "process values of 200 tags in the spool, a batch a second"),
)
