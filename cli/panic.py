"""Engage the kill switch by the broker that leads, and without one when none does."""

from typing import Any

from cli import broker_admin
from cli.admin_client import AdminError
from cli.errors import OperatingError
from cli.one_shot import run_one_shot
from cli.run_directory import RunDirectory
from cli.runs import last_live, running
from libs.common.config import ConfigError
from libs.common.policy_files import config_arguments
from libs.common.topology import Service

TIMEOUT_S = 60.0
"""More than the one shot's own limits together."""


def engage_anyhow(reason: str, by: str) -> dict[str, Any]:
    """Engage the switch of the run that is up; return what was confirmed, and by whom.

    When nothing is up, what the last run on an outside exchange may have left there is cancelled.
    Raises OperatingError when there was none, or not even the one shot could be tried.
    """
    known = running()
    if known is None and (left := last_live()) is not None:
        return without_broker(left, reason, by)
    known = known or broker_admin.demand_running()
    try:
        answer = broker_admin.engage(known, reason, by)
    except broker_admin.NoLeader:
        return without_broker(known.run, reason, by)
    except AdminError as error:
        if not error.no_answer:
            raise
        return without_broker(known.run, reason, by)
    return {
        "broker": True,
        "engaged": True,
        "confirmed_zero": answer.confirmed_zero,
        "resting": answer.resting,
        "unknown": answer.unknown,
        "elapsed_ms": answer.elapsed_ms,
        "detail": answer.detail,
    }


def without_broker(run: RunDirectory, reason: str, by: str) -> dict[str, Any]:
    """Store the switch and cancel everything with the broker's own configuration and key."""
    own = config_arguments(Service.BROKER, run.configs / f"{Service.BROKER}.yaml")
    words = [*own, "--reason", reason, "--by", by]
    try:
        result, _ = run_one_shot("services.broker.panic", words, TIMEOUT_S)
    except (ConfigError, OperatingError) as error:
        raise OperatingError(f"no broker serves, and nothing was cancelled: {error}") from None
    return {"broker": False, "unknown": None, **result}
