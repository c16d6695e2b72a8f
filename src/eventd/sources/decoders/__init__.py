"""One module a tool: pure functions from a delivery to events."""
