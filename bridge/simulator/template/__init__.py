"""The simulator's plant as files: `@…@` stands for what `write_plant` fills in."""
