"""The online store: newest rows, what was served, and whether both still agree with the tables."""
