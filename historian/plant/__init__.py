"""The plant file: what it may say, how it is read and checked, and what it resolves to."""
