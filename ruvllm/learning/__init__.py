"""What outcomes teach: from the log of a brain to better routes."""
