"""The `modbus` driver: registers of PLCs and gateways."""
