"""The slow timescale: what was seen becomes a curriculum, a student, and after proof a model in service."""
