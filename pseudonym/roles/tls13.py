"""Imported before gRPC: TLS 1.3 and nothing older.

gRPC for Python has no switch for the version. It reads the cipher suites of TLS 1.2 from the environment,
once, when it is loaded; those of TLS 1.3 are fixed. With a suite that needs a key agreed on beforehand, which
nobody here has, no handshake of TLS 1.2 can succeed, whatever the certificate.

`callers.caller_of` refuses older versions too, where something else has loaded gRPC first.
"""

from __future__ import annotations

import os

NO_OLDER_SUITE = "ECDHE-PSK-AES256-CBC-SHA"

os.environ["GRPC_SSL_CIPHER_SUITES"] = NO_OLDER_SUITE
