"""Contracts: what a tag's samples may be, rule by rule. A new rule is a class here and a line in `contract_of`."""
