"""The `opcua` driver: subscriptions to the nodes of a server."""
