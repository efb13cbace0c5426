"""The bundled MCP servers: one domain each, its own process, its own credentials."""
