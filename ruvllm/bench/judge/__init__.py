"""How good the judge is, and how its weights were fitted."""
