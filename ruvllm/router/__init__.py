"""Which model answers a question, with how much context, and how sure that choice is."""
