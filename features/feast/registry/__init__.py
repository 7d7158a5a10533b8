"""What Feast knows of a plant."""
