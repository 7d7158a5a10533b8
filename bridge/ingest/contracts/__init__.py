"""Contracts: the rules a tag's samples must satisfy. A new rule is a class here and a line in `contract_of`."""
