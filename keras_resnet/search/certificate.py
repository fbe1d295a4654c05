"""The certificate by which the chief of a search and its workers know each other: whoever can read its file can connect.

The chief makes it for this search, with its private key in the same file. The workers read it there.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from keras_resnet.atomic import put_in_place, scratch
from keras_resnet.errors import InputError
from keras_resnet.outside import regular

FILE = "certificate.pem"  # in the state folder of a search
HOST = "keras-resnet-search"  # the name in the certificate, whatever the machine is called
EVERYONE = 0o007  # the rights of a file that are neither its owner's nor its group's
LARGEST = 100_000  # bytes
VALID = timedelta(days=3650)
SLACK = timedelta(days=1)  # clocks differ


def prepare(path: Path) -> None:
    """Make a certificate, unless there is a good one, of a chief that was killed."""
    try:
        read(path)
    except (FileNotFoundError, InputError):
        with scratch(path) as folder:
            descriptor = os.open(folder / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(new())
            put_in_place(folder / "new", path)
        if path.stat().st_mode & EVERYONE:
            path.unlink()
            raise InputError(
                f"the file system of {str(path.parent)!r} lets everyone read the certificate: choose another --out"
            ) from None


def new() -> bytes:
    """A private key and a certificate that is signed by it, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - SLACK, now + VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, serialization.NoEncryption()) + certificate.public_bytes(kind)


def read(path: Path) -> bytes:
    """The private key and the certificate, in PEM. FileNotFoundError, or InputError if everyone has rights on the file, or if it is
    damaged."""
    try:
        with open(path, "rb", opener=regular) as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read(LARGEST)
    except PermissionError:
        raise InputError(f"{str(path)!r} cannot be read: start chief and workers as the same user") from None
    if mode & EVERYONE:
        raise InputError(f"{str(path)!r} is open to everyone (mode {mode & 0o777:o}): start the chief again, which makes a new one")
    if not is_good(content):
        raise InputError(f"{str(path)!r} is damaged, or no longer valid: start the chief again, which makes a new one")
    return content


def is_good(content: bytes) -> bool:
    """Whether this is a key and its certificate, which is valid now."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key, certificate = load_pem_private_key(content, None), x509.load_pem_x509_certificate(content)
    except (ValueError, TypeError):  # TypeError: the key has a password
        return False
    is_valid = certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc
    return is_valid and key.public_key() == certificate.public_key()


def of_server(content: bytes) -> grpc.ServerCredentials:
    """Credentials of a server that only talks to clients with the same certificate."""
    key, certificate = parts(content)
    return grpc.ssl_server_credentials([(key, certificate)], root_certificates=certificate, require_client_auth=True)


def of_client(content: bytes) -> grpc.ChannelCredentials:
    """Credentials of a client that only talks to a server with the same certificate."""
    key, certificate = parts(content)
    return grpc.ssl_channel_credentials(root_certificates=certificate, private_key=key, certificate_chain=certificate)


def parts(content: bytes) -> tuple[bytes, bytes]:
    key, mark, certificate = content.partition(b"-----BEGIN CERTIFICATE-----")
    return key, mark + certificate
