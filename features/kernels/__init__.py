"""The kernels: windows in, features out. Pure: no I/O, no clock."""
