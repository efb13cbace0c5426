"""All servers at once: connect, route, isolate. Exceptions below, outcome values above."""
