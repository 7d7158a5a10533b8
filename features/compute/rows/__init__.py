"""From the samples of one asset to its feature rows: windows, kernels, reasons, columns."""
