"""Every metric's name in one place, and the HTTP endpoint that shows them.

Labels are few and closed (service, family, state, reason code): no ticker is ever a label.
"""

import hmac
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import make_wsgi_app

from libs.common.config import ConfigError

REQUEST_TIMEOUT_S = 5
SHUTDOWN_POLL_S = 0.1
_LATENCY_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)


class Metrics:
    """The metrics of one service process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._define_spine()
        self._define_trading()
        self._define_watching()

    def _define_spine(self) -> None:
        self.state = self._gauge("service_state", "1 for the runner's present state", "state")
        self.standing_by = self._gauge("standing_by", "1 while another process does our work")
        self.bus_connected = self._gauge("bus_connected", "1 while NATS answers at once")
        self.durable_pending = self._gauge(
            "durable_pending", "messages that are not acknowledged yet", "durable"
        )
        self.stream_bytes = self._gauge("stream_bytes", "what a stream holds", "stream")
        self.stream_bytes_max = self._gauge("stream_bytes_max", "what it may hold", "stream")
        self.loop_lag_s = self._gauge("loop_lag_seconds", "how late the event loop turns")
        self.received_total = self._counter("messages_received", "messages handled", "stream")
        self.published_total = self._counter("messages_published", "messages sent", "stream")
        self.bad_total = self._counter(
            "messages_bad", "messages refused at the edge", "stream", "reason"
        )
        self.publish_ack_s = self._histogram("publish_ack_seconds", "send to acknowledgement")
        self.handle_s = self._histogram("handle_seconds", "time of one core decision")

    def _define_trading(self) -> None:
        # feeds and exchange sessions
        self.frames_total = self._counter("frames", "frames of an outside socket", "feed")
        self.bad_frames_total = self._counter("frames_bad", "frames refused", "feed", "reason")
        self.disconnects_total = self._counter("disconnects", "sockets lost", "feed")
        self.book_gaps_total = self._counter("book_gaps", "sequence gaps in books", "feed")

        # pricer and risk
        self.proposals_total = self._counter("proposals", "proposals made", "family")
        self.verdicts_total = self._counter("verdicts", "verdicts given", "family", "decision")
        self.gate_failed_total = self._counter("gate_failed", "NO-GO of a gate", "gate", "reason")
        self.gate_advised_total = self._counter(
            "gate_advised", "a gate's no that does not decide in this mode", "gate", "reason"
        )
        self.overrides_total = self._counter(
            "overrides", "operators' overrides, by what became of them", "kind", "outcome"
        )

        # broker
        self.orders_total = self._counter("orders", "orders that reached a state", "state")
        self.resting_orders = self._gauge("resting_orders", "orders at rest")
        self.unknown_orders = self._gauge("unknown_orders", "orders whose outcome is unknown")
        self.book_differences = self._gauge(
            "book_differences", "differences to the exchange's books", "kind"
        )
        self.fills_total = self._counter("fills", "fills", "family")
        self.exchange_requests_total = self._counter(
            "exchange_requests", "calls to the exchange", "call", "outcome"
        )
        self.submit_latency_s = self._histogram(
            "submit_latency_seconds", "verdict handled to exchange answer"
        )
        self.stop_to_zero_s = self._histogram(
            "stop_to_zero_seconds", "trigger to nothing at rest, confirmed, by trigger", "reason"
        )
        self.alerts_total = self._counter("alerts", "what a person should know", "kind")
        self.kill_switch_engaged = self._gauge("kill_switch_engaged", "1 while it is on")
        self.clock_skew_s = self._gauge(
            "clock_skew_seconds", "our clock less an outside one", "reference"
        )

    def _define_watching(self) -> None:
        self.monitor_state = self._gauge(
            "monitor_state", "0 OK, 1 ALERT, 2 NO_DATA", "monitor", "scope"
        )
        self.monitor_value = self._gauge("monitor_value", "what it measured", "monitor", "scope")
        self.monitor_threshold = self._gauge(
            "monitor_threshold", "what it was held to", "monitor", "scope"
        )
        self.ledger_available = self._gauge("ledger_available", "1 while the ledger takes rows")
        self.ledger_rows_total = self._counter("ledger_rows", "rows written", "stream")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"alpha_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"alpha_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"alpha_{name}", text, labels, registry=self.registry, buckets=_LATENCY_S)


class _QuietHandler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape every few seconds is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    """A client that connects and says nothing keeps nobody waiting, the end of the run least."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no news."""


class MetricsServer:
    """Serve `/metrics` over HTTP to who shows the token (`Authorization: Bearer …`)."""

    def __init__(self, metrics: Metrics, host: str, port: int, token: str) -> None:
        show = make_wsgi_app(metrics.registry)
        expected = f"Bearer {token}"

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            given = str(environ.get("HTTP_AUTHORIZATION", ""))
            if not hmac.compare_digest(given.encode(), expected.encode()):
                start("401 Unauthorized", [("Content-Type", "text/plain")])
                return [b"expected the run's admin token as Authorization: Bearer\n"]
            body: Iterable[bytes] = show(environ, start)
            return body

        try:
            self._server: WSGIServer = make_server(
                host, port, app, server_class=_Server, handler_class=_QuietHandler
            )
        except OSError as error:
            raise ConfigError(
                f"metrics_port: expected a free port, found {host}:{port}: {error.strerror}; "
                "stop what listens there or choose another"
            ) from None
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(SHUTDOWN_POLL_S,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
