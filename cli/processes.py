"""The processes of a run: where they listen, how they start, and their configuration files."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from cli.run_directory import RunDirectory, free_ports
from cli.supervisor import ProcessSpec
from libs.common.clock import ClockSpec
from libs.common.config import ConfigError
from libs.common.nats_config import render_server
from libs.common.nats_server import NatsServerError, find_nats_server
from libs.common.policy_files import config_arguments
from libs.common.topology import SERVICES, Service

ROOT = Path(__file__).resolve().parents[1]


class Addresses(Struct, frozen=True, kw_only=True):
    """Where everything of a run listens, on loopback."""

    nats: int
    exchange: int
    index: int
    admin: dict[str, int]
    metrics: dict[str, int]

    @classmethod
    def choose(cls, brokers: int = 1) -> "Addresses":
        """Return free ports, for the six services and the brokers that stand by."""
        names = [*map(str, SERVICES), *broker_names(brokers)[1:]]
        ports = free_ports(3 + 2 * len(names))
        return cls(
            nats=ports[0],
            exchange=ports[1],
            index=ports[2],
            admin=dict(zip(names, ports[3 : 3 + len(names)], strict=True)),
            metrics=dict(zip(names, ports[3 + len(names) :], strict=True)),
        )

    @property
    def nats_url(self) -> str:
        """Return where services reach the bus."""
        return f"nats://127.0.0.1:{self.nats}"


def broker_names(brokers: int) -> list[str]:
    """Return the process names of the brokers: broker, broker-2, and so on."""
    return [str(Service.BROKER), *(f"{Service.BROKER}-{n}" for n in range(2, brokers + 1))]


def is_broker(name: str) -> bool:
    """Return whether a process of a run is one of its brokers."""
    return name == Service.BROKER or name.startswith(f"{Service.BROKER}-")


class Plan(Struct, frozen=True, kw_only=True):
    """All processes of a run, in the order in which they start.

    `outside`: the exchange is not of this run, so its log goes on where the run before ended.
    `alerting` starts once all services are READY and ends first, so that neither is an alert.
    """

    run: RunDirectory
    target_ns: int
    origins: dict[str, str]
    clock: ClockSpec
    addresses: Addresses
    infrastructure: tuple[ProcessSpec, ...]
    services: tuple[ProcessSpec, ...]
    outside: bool = False
    alerting: tuple[ProcessSpec, ...] = ()
    alerting_urls: dict[str, str] = {}


def nats_process(run: RunDirectory, addresses: Addresses) -> ProcessSpec:
    """Return how to start NATS; raise ConfigError when its program is not there."""
    try:
        program = find_nats_server()
    except NatsServerError as error:
        raise ConfigError(str(error)) from None
    return _process(run, "nats", str(program), "-c", str(write_nats(run, addresses.nats)))


def write_nats(run: RunDirectory, port: int) -> Path:
    """Write the server's configuration and return its file."""
    passwords = {
        service: run.token(f"nats-{service}.password").read_text(encoding="utf-8")
        for service in Service
    }
    text = render_server(
        store_directory=run.root / "nats",
        ports_directory=run.configs,
        passwords=passwords,
        port=port,
    )
    return run.write_secret("nats-server.conf", text)


def python_process(
    run: RunDirectory, name: str, module: str, values: dict[str, Any]
) -> ProcessSpec:
    """Write a module's configuration and return how to start it."""
    config = str(run.write_config(name, values))
    return _process(run, name, sys.executable, "-m", module, "--config", config)


def service_processes(
    run: RunDirectory,
    clock: ClockSpec,
    addresses: Addresses,
    own: Mapping[str, dict[str, Any]],
    brokers: int,
) -> tuple[ProcessSpec, ...]:
    """Write the configuration of all services; `own` is what each has beside the common keys."""
    ledger = {"ledger": str(run.root / "ledger"), "reports_dir": str(run.reports)}
    values = {**own, "reporting": ledger | own.get("reporting", {})}
    return tuple(
        _service(run, service, name, clock, addresses, values.get(service, {}))
        for service in SERVICES
        for name in (broker_names(brokers) if service is Service.BROKER else [str(service)])
    )


def plain(config: Struct) -> dict[str, Any]:
    """Return a configuration's values as a file holds them."""
    values = {name: getattr(config, name) for name in config.__struct_fields__}
    return {name: value for name, value in values.items() if value is not None}


def _service(
    run: RunDirectory,
    service: Service,
    name: str,
    clock: ClockSpec,
    addresses: Addresses,
    values: dict[str, Any],
) -> ProcessSpec:
    config = {
        "service": str(service),
        "nats_url": addresses.nats_url,
        "nats_password_file": str(run.token(f"nats-{service}.password")),
        "admin_token_file": str(run.token("admin.token")),
        "admin_port": addresses.admin[name],
        "metrics_port": addresses.metrics[name],
        "clock": plain(clock),
        **({"instance": name} if name != service else {}),
        **values,
    }
    words = config_arguments(service, run.write_config(name, config))
    return _process(run, name, sys.executable, "-m", f"services.{service}", *words)


def _process(run: RunDirectory, name: str, *arguments: str) -> ProcessSpec:
    # The simulated outside is not restarted: its memory is the truth of the run.
    restart = name not in ("exchange", "index")
    return ProcessSpec(
        name=name, arguments=arguments, log_file=run.logs / f"{name}.log", restart=restart
    )
