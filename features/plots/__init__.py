"""Pictures of signals, features and spectra."""
