"""The playground: small, stateful stand-ins for GitHub, Jira, Slack and CalDAV, on loopback, with switches for trouble.

One process serves all four in their own API's shape, each on its own port with its own token, so that the real servers
run without accounts. ``python -m motet_servers.playground`` prints where everything is as one line of JSON.
"""
