"""The bridge's commands."""
