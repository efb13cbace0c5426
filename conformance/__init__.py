"""The official conformance suite against our client: `make conformance`."""
