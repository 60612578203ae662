"""The networks and everything that turns frames into frames."""
from model.checkpoint import load_model
from model.predictor import Predictor, load_predictor
from model.registry import NETWORKS, create_network
from model.safa import SAFA
from model.safa_small import SAFASmall
from model.settings import InferenceSettings

__all__ = ["NETWORKS", "SAFA", "InferenceSettings", "Predictor", "SAFASmall", "create_network", "load_model",
           "load_predictor"]
