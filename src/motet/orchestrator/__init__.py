"""What most users hold: the `Orchestrator`, and what its reads give."""
