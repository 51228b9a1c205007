"""The SAML identity provider program of the tests."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.support.gateway import free_port

SAML_DIR = Path(__file__).parents[1] / "conformance" / "saml"


@dataclass
class Provider:
    """A running provider, and its metadata as an operator would save it."""

    entity: str
    metadata: Path


@contextmanager
def saml_provider(directory: Path, acs: str) -> Iterator[Provider]:
    """Run the provider; it answers to `acs`."""
    assert (SAML_DIR / "node_modules" / "samlp").is_dir(), "`make setup` installs it"
    key, certificate = _make_key(directory)
    port = free_port()
    environ = {
        **os.environ, "PORT": str(port), "KEY": str(key), "CERT": str(certificate), "ACS": acs,
        "NODE_NO_WARNINGS": "1",
    }  # fmt: skip
    with subprocess.Popen(
        ["node", "idp.js"], cwd=SAML_DIR, env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            metadata = directory / "idp-metadata.xml"
            metadata.write_bytes(httpx.get(f"{url}/metadata").raise_for_status().content)
            yield Provider(f"{url}/idp", metadata)
        finally:
            process.terminate()


def _make_key(directory: Path) -> tuple[Path, Path]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = directory / "idp.key", directory / "idp.pem"
    paths[0].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    paths[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return paths
