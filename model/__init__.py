"""The network and everything that turns frames into frames."""
from model.checkpoint import load_model
from model.predictor import Predictor, load_predictor
from model.safa import SAFA

__all__ = ["SAFA", "Predictor", "load_model", "load_predictor"]
