"""The command line: `motet`. Data on stdout, everything else on stderr, one table of exit codes."""
