"""Bytes become records: checked, freed of repeats, and written in our format."""
