"""The GitHub server: issues, pull requests, releases, files, code search, labels."""
