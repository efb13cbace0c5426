"""What every bundled server stands on: declaration, settings, HTTP, errors, idempotency, paging, progress.

The kit holds no secret and no state of its own: a server creates what it needs from here and owns it. Import from the
defining module; nothing is imported here, so that `--help` stays cheap.

- `command`: `ServerCommand`, the command line of a server (stdio, `--http`, `--help`, `--version`, exit codes)
- `settings`: `Variable`, `Values`, `SettingsError`: the environment, and only the declared part of it
- `server`: `DomainServer`, a FastMCP server with a declared boundary, annotations and retry classes
- `guard`: the door of every tool and resource, which lets out nothing but typed, redacted errors
- `errors`: `DomainError` and its kinds, what a tool raises
- `arguments`: arguments that several servers take, each with its bounds
- `http`: `ApiClient`, JSON over HTTP with typed errors, guards against SSRF, and caps
- `idempotency`: stable marks for idempotency keys, hidden endings that hold them, one call at a time per key
- `paging`: opaque cursors; `progress`: progress notes that are silent outside a request; `threads`: blocking work that
  ends with its call
- `subscriptions`: who wants to hear of which resource; `polling`: for what announces nothing, looked at now and then
- `redaction`: exact secret values replaced in whatever is said
"""
