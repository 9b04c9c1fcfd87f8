"""The points at which a simulated process may be killed: one on each side of every effect."""

WRITES = ("place", "amend", "cancel", "cancel_all", "group")

BROKER_POINTS = (
    "verdict.given",  # the core is about to hear of a verdict: before any intent
    "verdict.done",  # its effects are durable, it is not acknowledged
    "verdict.acknowledged",
    *(f"intent.{one}.{side}" for one in WRITES[:3] for side in ("unsent", "stored", "acked")),
    *(f"http.{one}.{side}" for one in WRITES for side in ("unsent", "flying", "done", "answered")),
    "http.read.unsent",
    "http.read.answered",
    *(f"update.{side}" for side in ("unsent", "stored", "acked")),
    *(f"fill.{side}" for side in ("unsent", "stored", "acked")),
    *(f"payout.{side}" for side in ("unsent", "stored", "acked")),
    *(f"epoch.{side}" for side in ("unsent", "stored", "acked")),
    "lease.written",
    "log.read",
    "frame.given",  # the core is about to hear of a frame of the socket
)
"""`unsent`: it never leaves. `flying`: it left and will arrive. `stored`, `done`: the other side
has it, the answer never comes. `acked`, `answered`: the answer came, nothing follows from it."""

RISK_POINTS = (
    "approval.unsent",
    "approval.stored",
    "approval.acked",
    "proposal.given",
    "proposal.done",
)
POINTS = (*BROKER_POINTS, *RISK_POINTS)

_OF_TYPE = {
    "OrderUpdate": "update",
    "Fill": "fill",
    "ExchangeSettlement": "payout",
    "BrokerEpoch": "epoch",
    "Verdict": "approval",
}


def point_of(message):
    """Return the first part of the points around the publish of a message, "" for none."""
    kind = type(message).__name__
    if kind == "OrderIntent":
        return f"intent.{message.action}"
    return _OF_TYPE.get(kind, "")
