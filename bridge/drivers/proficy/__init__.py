"""The `proficy` driver: archives of GE Proficy Historian through its REST interface."""
