"""The `influxdb` driver: databases of InfluxDB, whoever wrote them, as archives."""
