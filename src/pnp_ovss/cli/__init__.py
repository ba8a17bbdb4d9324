"""The command line: each file parses, calls the library and prints; nothing is computed here."""
