"""From changed samples to feature rows: plan, partitions, engines, runs."""
