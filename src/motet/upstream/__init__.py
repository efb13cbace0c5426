"""Our end of one server: transport, session, supervision. The only place that speaks MCP as a client."""
