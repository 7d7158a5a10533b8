"""The root command, and the commands about the plant file and the store."""
