"""What a command runs: live streaming and backfills."""
