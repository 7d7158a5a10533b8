"""InfluxDB 1.x and 2.x as the store."""
