"""What Alertmanager tells, heard as Slack, PagerDuty, a webhook and a mail server would hear it."""

import base64
import email
import ipaddress
import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOCAL = "127.0.0.1"


class Post(NamedTuple):
    """One request: where it went, with which authorization, and its body."""

    path: str
    authorization: str
    body: Any


class HttpSink:
    """Take every POST; each path's first one is hung up on, so that it is told again."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.dropped: set[str] = set()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path not in sink.dropped:
                    sink.dropped.add(self.path)
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                sink.posts.append(Post(self.path, self.headers.get("Authorization", ""), body))
                self.send_response(202)
                self.end_headers()
                self.wfile.write(b'{"status": "success"}')

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((LOCAL, 0), Handler)
        self.url = f"http://{LOCAL}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, path: str) -> list[Post]:
        """Return what came to one path."""
        return [post for post in list(self.posts) if post.path == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mail(NamedTuple):
    """One message with the login that sent it."""

    login: str
    password: str
    message: Message


class MailServer(ThreadingTCPServer):
    """What its connections share: the certificate, and the mail that came."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__((LOCAL, 0), MailConversation)
        self.context = context
        self.mails: list[Mail] = []


class MailConversation(StreamRequestHandler):
    """Take mail over STARTTLS from who has logged in, and from nobody else."""

    server: MailServer
    login: tuple[str, str] | None = None

    def handle(self) -> None:
        self.say("220 sink")
        while line := self.rfile.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if word.upper() == "QUIT":
                self.say("221 bye")
                return
            if not self.answer(word.upper(), rest):
                self.say("502 not known here")

    def answer(self, word: str, rest: str) -> bool:
        """Answer a command; tell whether it may be given now."""
        secure = isinstance(self.connection, ssl.SSLSocket)
        match word:
            case "EHLO":
                self.say("250-sink", "250 AUTH PLAIN" if secure else "250 STARTTLS")
            case "STARTTLS" if not secure:
                self.say("220 go on")
                self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)
            case "AUTH" if secure:
                _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.login = (name, password)
                self.say("235 welcome")
            case "MAIL" | "RCPT" if self.login:
                self.say("250 fine")
            case "DATA" if self.login:
                self.say("354 go on")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(Mail(*self.login, email.message_from_bytes(text)))
                self.say("250 taken")
            case _:
                return False
        return True

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


class MailSink:
    """A mail server of this machine, and the certificate by which it is known."""

    def __init__(self, folder: Path) -> None:
        self.authority, context = _certificate(folder)
        self._server = MailServer(context)
        self.address = f"{LOCAL}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def mails(self) -> list[Mail]:
        """Return what came so far."""
        return list(self._server.mails)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the certificate to trust, and the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOCAL))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    authority, own = folder / "sink.pem", folder / "sink.key"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    own.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, own)
    return authority, context
