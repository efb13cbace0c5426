"""`motet-server-deploy`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from motet_servers.kit.command import ServerCommand
from motet_servers.kit.settings import Variable

COMMAND = ServerCommand(
    name="motet-server-deploy",
    summary="Deploys releases to targets: verify, switch, start, check; switches back by itself when unhealthy.",
    build="motet_servers.deploy.server:build",
    variables=(
        Variable(
            "DEPLOY_ROOT",
            "directory that holds artifacts/<version>, targets.yaml (optional) and the local targets",
            where="Needed unless DEPLOY_TARGETS is set.",
        ),
        Variable("DEPLOY_TARGETS", "a targets file, when it is not DEPLOY_ROOT/targets.yaml"),
        Variable(
            "DEPLOY_ENVIRONMENTS", "names of the local targets when there is no file", default="staging,production"
        ),
        Variable("DEPLOY_SSH_PASSPHRASE", "passphrase of the SSH keys named in the targets file", secret=True),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; gives the exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
