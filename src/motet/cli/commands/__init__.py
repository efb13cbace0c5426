"""One module a command; each is imported when its command is used, and imports what is heavy when it runs."""
