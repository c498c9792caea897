"""The process of the HTTP door: `python -m aima_gateway`; `… make-key` makes the first key of an installation."""

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
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings

TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def main() -> None:
    """Run until told to stop, or make a key."""
    if sys.argv[1:2] == ["make-key"]:
        sys.exit(_make_key(sys.argv[2:]))
    serve("gateway", alone(_service))


def _service(place: Workplace) -> Gateway:
    own = Settings.from_environment(place.environment)
    analysis = settings.words(place.environment, "AIMA_ANALYSIS_URLS")
    return Gateway(place.ports, own, embed_text=RemoteEmbedding(analysis, own.secret) if analysis else None)


def _make_key(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="aima-gateway make-key", description="Make a key, and print it once.")
    parser.add_argument("--tenant", required=True, help="whose key it is: small letters, digits and '-'")
    parser.add_argument("--role", choices=[role.name for role in Role], default=Role.operator.name)
    parser.add_argument("--name", default="made by hand", help="what people will recognise it by")
    chosen = parser.parse_args(arguments)
    if not TENANT.fullmatch(chosen.tenant):
        parser.error(f"{chosen.tenant!r} cannot name a tenant")

    def work(environment: Mapping[str, str]) -> int:
        return asyncio.run(_key(environment, chosen.tenant, Role[chosen.role], chosen.name))

    return with_settings("gateway", work)


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
