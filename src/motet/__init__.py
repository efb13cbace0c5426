"""motet: the host-side orchestrator for MCP."""
