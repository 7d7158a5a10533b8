"""The plant file: its keys, how it is read and checked, and what it resolves to."""
