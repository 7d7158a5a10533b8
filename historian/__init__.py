"""The domain: samples, tags, quality, plant configuration, and the stores that hold samples."""
