"""The offline store: what was known at each label's time, from files of feature rows."""
