"""The `pi-web-api` driver: archives of the AVEVA PI System through PI Web API."""
