"""The workflow: its model, loading, expressions, checking and `RunState`. No input or output, no clock, no waiting."""
