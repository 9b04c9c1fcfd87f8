"""`alpha config show`: the policy that each service reads, key by key, with its documentation."""

from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import NODEFAULT
from msgspec.structs import fields
from rich.console import Console
from rich.table import Table

from cli.calendar_ends import tell_ends
from libs.common.config import ConfigError, ServiceConfig, config_hash, load_config
from libs.common.explain import Explained, explain
from libs.common.policy_files import policy_files
from libs.common.topology import SERVICES, Service

commands = typer.Typer(help="Show the policy in configs/.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@commands.callback()
def _group() -> None:
    """Show the policy in configs/."""


@commands.command()
def show(
    service: Annotated[str, typer.Argument(help="One service; default all six.")] = "",
    with_docs: Annotated[
        bool, typer.Option("--explain", help="With unit, place and documentation of every key.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show every policy key that a service reads, checked as the service checks it at start.

    When something is up, what its run sets otherwise counts, as it does there. Exit code 2: a file
    contradicts itself, with file, key and reason.
    """
    from cli.runs import running

    if service and service not in SERVICES:
        raise ConfigError(f"service: expected one of {', '.join(SERVICES)}, got {service!r}")
    known = running()
    chosen = [Service(service)] if service else list(SERVICES)
    told = {one: _read(one, known.run.configs if known else None) for one in chosen}
    console = Console()
    if as_json:
        tell_ends(Console(stderr=True))
        console.print_json(
            data={
                str(one): {
                    "policy_hash": policy_hash,
                    "keys": [_plain(row, with_docs=with_docs) for row in rows],
                }
                for one, (policy_hash, rows) in told.items()
            }
        )
        return
    for one, (policy_hash, rows) in told.items():
        console.print(_table(one, policy_hash, rows, with_docs=with_docs))
    tell_ends(console)


def _read(service: Service, run_configs: Path | None) -> tuple[str, list[Explained]]:
    """Return the hash of a service's policy and its keys; raise ConfigError as its start would."""
    files = list(policy_files(service))
    if run_configs is not None and (own := run_configs / f"{service}.yaml").exists():
        files.append(own)
    config_type = config_type_of(service)
    rows = explain(files)
    named = {row.key.split(".")[0] for row in rows}
    stand_ins = {key: text for key, text in _plumbing(config_type).items() if key not in named}
    config = load_config(files, config_type, stand_ins)
    plumbing = {field.name for field in fields(ServiceConfig)}
    shown = [row for row in rows if row.key.split(".")[0] not in plumbing]
    return config_hash(getattr(config, "policy", config)), shown


def config_type_of(service: Service) -> type[ServiceConfig]:
    """Return a service's configuration type."""
    from services.broker.config import BrokerConfig
    from services.feeds.config import FeedsConfig
    from services.monitors.config import MonitorsConfig
    from services.pricer.config import PricerConfig
    from services.reporting.config import ReportingConfig
    from services.risk.config import RiskConfig

    types: dict[Service, type[ServiceConfig]] = {
        Service.FEEDS: FeedsConfig,
        Service.PRICER: PricerConfig,
        Service.RISK: RiskConfig,
        Service.BROKER: BrokerConfig,
        Service.MONITORS: MonitorsConfig,
        Service.REPORTING: ReportingConfig,
    }
    return types[service]


def _plumbing(config_type: type[ServiceConfig]) -> dict[str, Any]:
    """Return stand-ins for what a run alone can know: addresses, names of files of secrets."""
    needed = [
        field
        for field in fields(config_type)
        if field.default is NODEFAULT and field.default_factory is NODEFAULT
    ]
    stand_ins = {"provenance": "synthetic"}
    return {
        field.name: stand_ins.get(field.name, "-")
        for field in needed
        if field.type is str or field.name in stand_ins
    }


def _plain(row: Explained, *, with_docs: bool) -> dict[str, Any]:
    shown = {"key": row.key, "value": row.value}
    if with_docs:
        shown |= {"unit": row.unit, "source": row.source, "doc": row.doc}
    return shown


def _table(service: Service, policy_hash: str, rows: list[Explained], *, with_docs: bool) -> Table:
    table = Table(title=f"{service}, policy {policy_hash}", title_justify="left")
    for heading in ("key", "value", *(("unit", "source", "what it is") if with_docs else ())):
        table.add_column(heading, overflow="fold")
    for row in rows:
        beside = (row.unit, row.source, row.doc) if with_docs else ()
        table.add_row(row.key, str(row.value), *beside)
    return table
