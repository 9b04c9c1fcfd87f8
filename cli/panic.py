"""Engage the kill switch by the broker that leads, and without it when that fails."""

from typing import Any

from cli import broker_admin
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

    Whatever keeps the broker from answering, a wrong token say, nothing may rest: then the account
    is cancelled directly. When nothing is up, what the last run on an outside exchange may have
    left there is. Raises OperatingError when there was none.
    """
    known = running()
    if known is None and (left := last_live()) is not None:
        return without_broker(left, reason, by, "nothing is up")
    known = known or broker_admin.demand_running()
    try:
        answer = broker_admin.engage(known, reason, by)
    except broker_admin.NoLeader as error:
        return without_broker(known.run, reason, by, str(error))
    except Exception as error:  # noqa: BLE001  whatever it is, there is another way to zero
        why = f"the broker was asked and failed: {error}"
        return without_broker(known.run, reason, by, why)
    return {
        "broker": True,
        "why": "",
        "engaged": True,
        "confirmed_zero": answer.confirmed_zero,
        "resting": answer.resting,
        "unknown": answer.unknown,
        "elapsed_ms": answer.elapsed_ms,
        "detail": answer.detail,
    }


def without_broker(run: RunDirectory, reason: str, by: str, why: str) -> dict[str, Any]:
    """Store the switch and cancel everything with the broker's own configuration and key.

    `why` says what kept the broker from doing it.
    """
    answer: dict[str, Any] = {"broker": False, "why": why, "unknown": None}
    own = config_arguments(Service.BROKER, run.configs / f"{Service.BROKER}.yaml")
    words = [*own, "--reason", reason, "--by", by]
    try:
        result, _ = run_one_shot("services.broker.panic", words, TIMEOUT_S)
    except (ConfigError, OperatingError) as error:
        detail = f"nothing was cancelled: {error}"
        unconfirmed = {"engaged": False, "confirmed_zero": False, "resting": None}
        return {**answer, **unconfirmed, "elapsed_ms": 0.0, "detail": detail}
    return {**answer, **result}
