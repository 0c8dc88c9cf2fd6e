"""The bench of routers: simple ones, ours and the oracle on recorded outcomes, all on the same splits."""
