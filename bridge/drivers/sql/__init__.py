"""The `sql` driver: historians that keep their samples in a relational database."""
