"""The networks through torch.hub, from any folder and beside any other code.

    import torch
    predictor = torch.hub.load("path/to/this/repository", "safa", source="local")     # or "safa_small"
    predictor = torch.hub.load("owner/repository", "safa", device="cuda", precision="bf16")
    frames = predictor.interpolate(frame0, frame1, [0.0, 0.5, 1.0], upscale=4)        # HxWx3 uint8 BGR

The packages here have plain names (`model`, `common`), which the caller's own modules may have as well. So they are
imported below a name that is nobody else's, and the imports inside them are led there too.
"""
import builtins
import hashlib
import importlib.machinery
import importlib.util
import pathlib
import sys
import types

# What torch.hub looks for before it calls anything.
dependencies = ["torch", "torchvision", "numpy", "cv2", "safetensors", "tqdm"]

_ROOT = pathlib.Path(__file__).resolve().parent
_PACKAGES = {path.parent.name for path in _ROOT.glob("*/__init__.py")}
_ABOVE = "safa_" + hashlib.sha256(str(_ROOT).encode()).hexdigest()[:12]  # another clone has another name


def safa(weights=None, **options):
    """A `Predictor` with the paper's network.

    Args:
        weights: a .safetensors, the official flownet.pkl, or a folder that holds one; None: those that come with it.
        options: device, precision, tile, scale_cap, compile, as `model.InferenceSettings` describes them.

    Raises:
        ValueError: the weights cannot be read, or an option cannot be.
    """
    return _predictor(weights or "full", options)


def safa_small(weights=None, **options):
    """A `Predictor` with the small network, for everyday use; otherwise as `safa`."""
    return _predictor(weights or "small", options)


def _predictor(weights, options):
    if _ABOVE not in sys.modules:
        above = types.ModuleType(_ABOVE, "What torch.hub loaded from " + str(_ROOT))
        above.__path__ = [str(_ROOT)]
        sys.modules[_ABOVE] = above
        sys.meta_path.insert(0, _Finder)
    return importlib.import_module(_ABOVE + ".model").load_predictor(weights, **options)


class _Finder:
    """Finds what lies below `_ABOVE`, and has it loaded by `_Loader`."""

    @staticmethod
    def find_spec(name, path, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name.startswith(_ABOVE + ".") else None
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module whose import statements mean this repository's packages, at any time: `_import` runs them."""

    def exec_module(self, module):
        module.__builtins__ = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    first = name.partition(".")[0]
    if level or first not in _PACKAGES:
        return builtins.__import__(name, globals, locals, fromlist, level)
    module = builtins.__import__(_ABOVE + "." + name, globals, locals, fromlist, 0)
    return module if fromlist else sys.modules[_ABOVE + "." + first]
