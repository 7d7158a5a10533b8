"""The simulated plant as files; `write_plant` replaces the placeholders `@…@`."""
