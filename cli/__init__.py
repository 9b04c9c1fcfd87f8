"""The `alpha` command."""

import os

# We start processes while gRPC runs; its fork handlers can't work then and complain on stderr.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
