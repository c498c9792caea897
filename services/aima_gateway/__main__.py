"""The process of the HTTP door: `python -m aima_gateway`.

`… make-key` makes the first key of an installation; `… limit` sets and shows what one tenant may do.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Mapping

from aima_common import cluster_wiring, settings
from aima_common.errors import SettingsError
from aima_common.process import Workplace, alone, serve, with_settings
from aima_gateway.key_store import KeyStore
from aima_gateway.keys import Role
from aima_gateway.remote_embedding import RemoteEmbedding
from aima_gateway.remote_explanations import RemoteExplanations
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings, tenant_limits
from aima_gateway.tenant_limits import NAMES
from aima_gateway.tenants import Tenants
from aima_gateway.waiting_room import waiting_room

TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def main() -> None:
    """Run until told to stop, make a key, or set a tenant's limits."""
    if sys.argv[1:2] == ["make-key"]:
        sys.exit(_make_key(sys.argv[2:]))
    if sys.argv[1:2] == ["limit"]:
        sys.exit(_limit(sys.argv[2:]))
    serve("gateway", alone(_service), reads=Settings.from_environment, meanwhile=waiting_room)


def _service(place: Workplace) -> Gateway:
    own = Settings.from_environment(place.environment)
    analysis = settings.words(place.environment, "AIMA_ANALYSIS_URLS")
    schedulers = settings.words(place.environment, "AIMA_SCHEDULER_URLS")
    asked = RemoteExplanations(schedulers, own.secret) if schedulers else None
    return Gateway(
        place.ports,
        own,
        embed_text=RemoteEmbedding(analysis, own.secret) if analysis else None,
        explain_job=asked,
        show_queue=asked.queue if asked else None,
    )


def _make_key(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="aima-gateway make-key", description="Make a key, and print it once.")
    parser.add_argument("--tenant", required=True, help="whose key it is: small letters, digits and '-'")
    parser.add_argument("--role", choices=[role.name for role in Role], default=Role.operator.name)
    parser.add_argument("--name", default="made by hand", help="what people will recognise it by")
    chosen = _of_a_tenant(parser, arguments)

    def work(environment: Mapping[str, str]) -> int:
        return asyncio.run(_key(environment, chosen.tenant, Role[chosen.role], chosen.name))

    return with_settings("gateway", work)


def _limit(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="aima-gateway limit",
        description="Set what one tenant may do, and show what holds. What is not named stays as it is.",
        epilog="0 is no limit; `usual` is what the installation gives everybody. All gateways notice within 10 s.",
    )
    parser.add_argument("--tenant", required=True, help="whose limits: small letters, digits and '-'")
    for name in NAMES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=_limit_value, default=argparse.SUPPRESS)
    chosen = _of_a_tenant(parser, arguments)
    changes = {name: getattr(chosen, name) for name in NAMES if hasattr(chosen, name)}

    def work(environment: Mapping[str, str]) -> int:
        return asyncio.run(_limits(environment, chosen.tenant, changes))

    return with_settings("gateway", work)


def _of_a_tenant(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    chosen = parser.parse_args(arguments)
    if not TENANT.fullmatch(chosen.tenant):
        parser.error(f"{chosen.tenant!r} cannot name a tenant")
    return chosen


def _limit_value(text: str) -> int | None:
    if text == "usual":
        return None
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor `usual`")
    return int(text)


async def _limits(environment: Mapping[str, str], tenant: str, changes: Mapping[str, int | None]) -> int:
    usual = tenant_limits(environment)
    async with cluster_wiring.cluster(settings.StoreSettings.from_environment(environment)) as ports:
        limits = await Tenants(ports.documents, usual).change(tenant, changes)
    for name, value in limits.body().items():
        print(f"{name:20} {'no limit' if value is None else value}")
    return 0


async def _key(environment: Mapping[str, str], tenant: str, role: Role, name: str) -> int:
    place = environment.get("AIMA_ENVIRONMENT", Settings.environment)
    if not re.fullmatch(r"[a-z0-9]{1,16}", place):
        raise SettingsError(f"AIMA_ENVIRONMENT is {place!r}, and up to 16 small letters and digits are wanted")
    async with cluster_wiring.cluster(settings.StoreSettings.from_environment(environment)) as ports:
        token, _ = await KeyStore(ports, place).issue(tenant, role, name)
    print(token.text)
    return 0


if __name__ == "__main__":
    main()
