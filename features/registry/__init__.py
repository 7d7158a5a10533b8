"""What Feast knows of a plant: its views, services and registry."""
