"""Training sets as artefacts: labels, splits, export, verification."""
