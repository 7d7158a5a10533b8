"""A plant to try Penstock on: one compressor with a growing bearing fault, behind real OPC UA and Modbus servers."""
