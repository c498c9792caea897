"""From a file to a dossier: the Python client of AIMA, and the `aima` command made of it.

async with Client.from_environment() as aima:
    case = await aima.create_case("holiday")
    await aima.upload(case["id"], Path("beach.jpg"))
    await aima.wait(case["id"])
    dossier = await aima.dossier(case["id"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aima_client.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    # Late, because `aima --help` needs no HTTP library.
    if name == "Client":
        from aima_client.client import Client

        return Client
    raise AttributeError(name)
