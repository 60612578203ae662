"""The networks by name, and the weights that come with the project by theirs. A further network is one line here."""
import inspect
from pathlib import Path

from common.errors import UserError
from model.network import Network
from model.safa import SAFA
from model.safa_small import SAFASmall

NETWORKS: dict[str, type[Network]] = {network.name: network for network in (SAFA, SAFASmall)}

_FOLDER = Path(__file__).parent / "weights"
WEIGHTS = {"full": _FOLDER / "safa.safetensors", "small": _FOLDER / "safa_small.safetensors"}
DEFAULT_WEIGHTS = WEIGHTS["small"]


def create_network(name: str, **settings: int) -> Network:
    """A fresh network of that name. Raises UserError if there is none, or it takes no such settings."""
    if name not in NETWORKS:
        raise UserError(f"no network is called {name!r}: use one of {', '.join(NETWORKS)}")
    known = inspect.signature(NETWORKS[name]).parameters
    if unknown := [setting for setting in settings if setting not in known]:
        raise UserError(f"the network {name} does not take {', '.join(unknown)}")
    return NETWORKS[name](**settings)
