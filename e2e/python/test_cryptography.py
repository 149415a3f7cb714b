"""What is signed and sealed, by the released gateway: each kind of certificate, key agreement and token that it takes."""

import base64
import datetime
import json
import re
import socket
import ssl
import subprocess
import time
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from harness import PATIENCE, Gateway, models

ISSUER = "https://issuer.test"

CERTIFICATES = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size):
    return encoded(value.to_bytes(size, "big"))


def _rsa(sign):
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(numbers.n, 256), "e": "AQAB"}, lambda data: sign(key, data)


def _pkcs1(digest):
    return _rsa(lambda key, data: key.sign(data, padding.PKCS1v15(), digest))


def _pss(digest):
    mask = padding.PSS(padding.MGF1(digest), digest.digest_size)
    return _rsa(lambda key, data: key.sign(data, mask, digest))


def _ecdsa(curve, name, digest):
    key, size = ec.generate_private_key(curve), curve.key_size // 8
    numbers = key.public_key().public_numbers()

    def sign(data):
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return {"kty": "EC", "crv": name, "x": number(numbers.x, size), "y": number(numbers.y, size)}, sign


def _eddsa():
    key = ed25519.Ed25519PrivateKey.generate()
    return {"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().public_bytes_raw())}, key.sign


# A key, and what signs with it.
ALGORITHMS = {
    "RS256": _pkcs1(hashes.SHA256()),
    "RS384": _pkcs1(hashes.SHA384()),
    "RS512": _pkcs1(hashes.SHA512()),
    "PS256": _pss(hashes.SHA256()),
    "PS512": _pss(hashes.SHA512()),
    "ES256": _ecdsa(ec.SECP256R1(), "P-256", hashes.SHA256()),
    "ES384": _ecdsa(ec.SECP384R1(), "P-384", hashes.SHA384()),
    "EdDSA": _eddsa(),
}


def token(algorithm):
    header = {"alg": algorithm, "kid": algorithm, "typ": "JWT"}
    claims = {"iss": ISSUER, "sub": "somebody", "exp": int(time.time()) + 600}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{encoded(ALGORITHMS[algorithm][1](signed.encode()))}"


def certificate(name, key):
    """A certificate for `name`, signed by its own key, and that key, as PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return built.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def resources(certificates):
    listeners = [
        {
            "name": kind,
            "protocol": "HTTPS",
            "port": "${E2E_GATEWAY_PORT}",
            "hostname": f"{kind}.test",
            "tls": {"certificateRefs": [{"name": kind}]},
        }
        for kind in certificates
    ]
    keys = [{"kid": name, "alg": name, "use": "sig", **key} for name, (key, _) in ALGORITHMS.items()]
    jwt = {
        "providers": [
            {"name": "issuer", "issuer": ISSUER, "localJWKS": {"inline": json.dumps({"keys": keys})}}
        ]
    }
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "sealed"}

    def resource(api, kind, name, **body):
        return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **body}

    gateway, envoy = "gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/v1alpha1"
    ai = "aigateway.envoyproxy.io/v1beta1"
    backend = {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "mock"}
    rule = {"backendRefs": [{"name": "mock"}]}
    endpoint = {"ip": {"address": "127.0.0.1", "port": "${E2E_MOCK_PORT}"}}
    return [
        resource(gateway, "Gateway", "sealed", spec={"gatewayClassName": "tollgate", "listeners": listeners}),
        resource(envoy, "SecurityPolicy", "tokens", spec={"targetRefs": [target], "jwt": jwt}),
        resource(ai, "AIGatewayRoute", "all", spec={"parentRefs": [{"name": "sealed"}], "rules": [rule]}),
        resource(ai, "AIServiceBackend", "mock", spec={"schema": {"name": "OpenAI"}, "backendRef": backend}),
        resource(envoy, "Backend", "mock", spec={"endpoints": [endpoint]}),
        *(
            resource("v1", "Secret", kind, stringData={"tls.crt": public, "tls.key": private})
            for kind, (public, private) in certificates.items()
        ),
    ]


@pytest.fixture(scope="module")
def sealed(_mock, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sealed")
    certificates = {kind: certificate(f"{kind}.test", make()) for kind, make in CERTIFICATES.items()}
    file = folder / "sealed.yaml"
    text = "\n---\n".join(json.dumps(resource) for resource in resources(certificates))
    # Variables stand for numbers.
    file.write_text(re.sub(r'"(\$\{\w+\})"', r"\1", text))
    trusted = folder / "trusted.pem"
    trusted.write_text("".join(public for public, _ in certificates.values()))
    running = Gateway(_mock, file)
    running.trusted = trusted
    yield running
    running.end()
    assert running.child.returncode == 0, running.told()


def ask(gateway, host, credential, context=None):
    """The status and the body of a chat with `host`, over a connection of its own."""
    context = context or ssl.create_default_context(cafile=str(gateway.trusted))
    connection = _Connection(host, gateway.port, context)
    body = json.dumps({"model": models.GPT, "messages": [{"role": "user", "content": "Hello"}]})
    headers = {"authorization": f"Bearer {credential}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    read = answer.status, answer.read()
    connection.close()
    return read


class _Connection(urllib.request.http.client.HTTPSConnection):
    """Goes to the loopback, whatever the name is that is asked for and checked."""

    def __init__(self, host, port, context):
        super().__init__(host, port, timeout=PATIENCE, context=context)
        self._create_connection = lambda address, *rest: _loopback(address[1], *rest)


def _loopback(port, timeout, source):
    return socket.create_connection(("127.0.0.1", port), timeout, source)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("kind", CERTIFICATES)
def test_certificates_of_each_kind(sealed, kind, version):
    context = ssl.create_default_context(cafile=str(sealed.trusted))
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    status, _ = ask(sealed, f"{kind}.test", token("ES256"), context)
    assert status == 200


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384"])
@pytest.mark.parametrize("suite", SUITES)
def test_key_agreements_and_ciphers(sealed, group, suite):
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{sealed.port}", "-servername", "p256.test"]
    command += ["-CAfile", sealed.trusted, "-verify_return_error", "-brief"]
    command += ["-groups", group, "-ciphersuites", suite]
    said = subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE)
    assert said.returncode == 0, said.stderr
    assert suite.encode() in said.stderr


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_each_algorithm(sealed, algorithm):
    good = token(algorithm)
    assert ask(sealed, "p256.test", good)[0] == 200
    signed, _, signature = good.rpartition(".")
    # The first character has no bits that decoders ignore.
    other = f"{signed}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    assert ask(sealed, "p256.test", other)[0] == 401
