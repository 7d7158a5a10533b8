"""The formats of files, one a module: which one a file has, and what is read of each kind."""
