"""Certificates for loopback."""

from pathlib import Path

import trustme


def certificates(directory: Path) -> dict[str, Path]:
    """Write a certificate for 127.0.0.1, its key, and the authority that signed it: ``cert``, ``key``, ``ca``."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    paths = {name: directory / f"{name}.pem" for name in ("cert", "key", "ca")}
    issued.cert_chain_pems[0].write_to_path(paths["cert"])
    issued.private_key_pem.write_to_path(paths["key"])
    authority.cert_pem.write_to_path(paths["ca"])
    return paths
