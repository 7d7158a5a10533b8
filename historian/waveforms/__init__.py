"""Waveforms: runs of samples at a fixed rate, one row a stretch. Pure: no I/O, no clock.

`batch` says what a stretch is, `encoding` turns arrays into rows and back, `packing` makes stretches of rows a sample
and back, `cutting` and `joining` divide, compare and join stretches.
"""
