"""The Slack server: channels, messages, threads, users, files, reactions, permalinks."""
