"""A CUDA device made of nothing: what code would do on a GPU, on machines without one.

    with FakeCuda() as gpu:
        Predictor(model, device="cuda").interpolate(first, second, [0.5])
    print(gpu.kernels, gpu.waits, gpu.peak)

CPU tensors are real. CUDA tensors are PyTorch's fake tensors: shape, type, strides and device, but no numbers, so an
operator that mixes devices fails here as it does there. What is copied to the GPU loses its numbers; what is copied
back is made up by `answer`. Counted are the kernels that would be started, by name; the times the host would wait; and
bytes.
"""
import collections
import contextlib
import traceback
import weakref
from pathlib import Path
from unittest import mock

import torch
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

ROOT = str(Path(__file__).resolve().parents[1]) + "/"
aten = torch.ops.aten
NO_KERNEL = ("empty", "new_empty", "detach", "alias", "lift_fresh", "_unsafe_view", "_reshape_alias", "resolve_")
UPSAMPLING = {aten.upsample_bilinear2d.vec: aten.upsample_bilinear2d.default,
              aten.upsample_bicubic2d.vec: aten.upsample_bicubic2d.default}
WAITING = (aten.nonzero.default, aten._unique2.default, aten.masked_select.default, aten.unique_consecutive.default)


class FakeCuda(TorchDispatchMode):
    """While it is entered there are GPUs.

    Args:
        answer: (shape, dtype) -> the tensor that a copy to the host brings; zeros by default.
        memory: bytes the device has; more is torch.cuda.OutOfMemoryError.

    Attributes:
        kernels: how many of each would have been started.
        waits: where the host would have waited for the device, a line each.
        peak: bytes allocated at most.
        layout_copies: where a convolution's input or weights would have been copied to another memory layout.
        odd_channels: where a convolution's channels are no multiples of 8, which matrix units want.
    """

    def __init__(self, answer=None, memory=80 << 30):
        super().__init__()
        self.answer = answer or (lambda shape, dtype: torch.zeros(shape, dtype=dtype))
        self.memory = memory
        self._fake = FakeTensorMode(allow_non_fake_inputs=False)
        self._stack, self._depth, self._held, self._now = contextlib.ExitStack(), 0, set(), 0
        self.reset()

    def reset(self):
        """Count anew."""
        self.kernels, self.waits, self.layout_copies, self.odd_channels = collections.Counter(), [], [], []
        self._forget_peak()

    def _forget_peak(self):
        self.peak = self._now

    def __enter__(self):
        self._depth += 1
        if self._depth == 1:
            torch._C._ensureCUDADeviceGuardSet()  # without a driver, a guard that does nothing
            self._stack.enter_context(self._fake)
            properties = mock.Mock(major=9, minor=0, total_memory=self.memory)
            told = {"is_available": True, "device_count": 4, "current_device": 0, "get_device_name": "Fake GPU",
                    "get_device_capability": (9, 0), "get_device_properties": properties, "empty_cache": None,
                    "get_arch_list": ["sm_90"], "memory_reserved": 0, "memory_allocated": 0, "set_device": None}
            for name, value in told.items():
                self._stack.enter_context(mock.patch.object(torch.cuda, name, lambda *a, value=value, **k: value))
            asked = {"mem_get_info": lambda device=None: (self.memory - self._now, self.memory),
                     "max_memory_allocated": lambda device=None: self.peak,
                     "reset_peak_memory_stats": lambda device=None: self._forget_peak(),
                     "synchronize": lambda device=None: self._wait("synchronize"),
                     "Stream": lambda device=None: mock.Mock(record_event=self._event),
                     "current_stream": lambda device=None: mock.Mock(), "stream": contextlib.nullcontext}
            for name, function in asked.items():
                self._stack.enter_context(mock.patch.object(torch.cuda, name, function))
            self._stack.enter_context(mock.patch.object(torch.Tensor, "pin_memory", lambda tensor, device=None: tensor))
            self._stack.enter_context(mock.patch.object(torch.Tensor, "record_stream", lambda tensor, stream: None))
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._depth -= 1
        if not self._depth:
            self._stack.close()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_gpu = any(isinstance(tensor, FakeTensor) for tensor in tensors)
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        if not on_gpu and (device is None or device.type != "cuda"):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is torch.ops.prim.device.default:
            return args[0].fake_device
        if func in UPSAMPLING:  # one kernel there; the fake tensors' own way is dozens
            x, size, align, factors = args
            size = size or [int(side * factor) for side, factor in zip(x.shape[2:], factors)]
            with self:
                return UPSAMPLING[func](x, size, align, *(factors or (None, None)))
        # In inference mode whole composites arrive (.to, .reshape ...): taken apart, so that their copies are seen.
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        to_host = self._to_host(func, args, kwargs, device)
        if to_host is not None:
            return to_host
        if func in WAITING:
            self._wait(func)
        if func in (aten._to_copy.default, aten.copy_.default):
            source = args[1] if func is aten.copy_.default else args[0]
            at_once = kwargs.get("non_blocking") or (func is aten.copy_.default and len(args) > 2 and args[2])
            if not isinstance(source, FakeTensor) and not at_once:
                self._wait("upload")
        return self._on_device(func, *tree_map_only(torch.Tensor, self._lifted, (args, kwargs)))

    def _on_device(self, func, args, kwargs):
        with self._fake:
            result = func(*args, **kwargs)
            if func is aten.convolution.default and result.device.type == "cuda":
                result = self._convolution(*args[:3], result)
        for tensor in tree_leaves(result):
            if isinstance(tensor, FakeTensor) and tensor.device.type == "cuda":
                self._hold(tensor)
        name = func.overloadpacket.__name__
        returns = func._schema.returns
        view = any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
        if not view and not name.startswith(NO_KERNEL):
            self.kernels[name] += 1
        return result

    def _convolution(self, x, weight, bias, result):
        """cuDNN's rule, since without a driver another backend is assumed: channels-last if input or weight is."""
        wanted = torch.contiguous_format
        if torch.channels_last in (suggest_memory_format(x), suggest_memory_format(weight)):
            wanted = torch.channels_last
            result = torch.empty_like(result, memory_format=wanted)
        for tensor in (x, weight):
            if not tensor.is_contiguous(memory_format=wanted):
                self.kernels["layout copy"] += 1
                self.layout_copies.append(f"{tuple(tensor.shape)} at {_caller()}")
        if bias is not None:
            self.kernels["bias"] += 1
        if weight.shape[0] % 8 or weight.shape[1] % 8:
            self.odd_channels.append(f"{tuple(weight.shape)} at {_caller()}")
        return result

    def _to_host(self, func, args, kwargs, device):
        """The result of a copy to the host, or None if `func` is none."""
        if func is aten._to_copy.default and device is not None and device.type == "cpu":
            source, dtype = args[0], kwargs.get("dtype") or args[0].dtype
            if not kwargs.get("non_blocking"):
                self._wait("download")
            with unset_fake_temporarily():
                made = self.answer(tuple(source.shape), dtype)
                return torch.empty_strided(source.shape, source.stride(), dtype=dtype).copy_(made)
        if func is aten.copy_.default and not isinstance(args[0], FakeTensor):
            if not (kwargs.get("non_blocking") or len(args) > 2 and args[2]):
                self._wait("download")
            with unset_fake_temporarily():
                return args[0].copy_(self.answer(tuple(args[0].shape), args[0].dtype))
        if func is aten._local_scalar_dense.default:
            self._wait("item")
            with unset_fake_temporarily():
                return self.answer((), args[0].dtype).item()
        if func is aten.equal.default:
            self._wait("equal")
            return True
        return None

    def _lifted(self, tensor):
        return tensor if isinstance(tensor, FakeTensor) else self._fake.from_tensor(tensor, static_shapes=True)

    def _event(self):
        return mock.Mock(synchronize=lambda: self._wait("event"))

    def _wait(self, what):
        self.waits.append(f"{what} at {_caller()}")

    def _hold(self, tensor):
        """Count a tensor's memory until it goes."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, -(-storage.nbytes() // 512) * 512  # PyTorch gives out memory in such blocks
        if key in self._held:
            return
        if self._now + size > self.memory:
            raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
        self._held.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)

        def gone():
            self._held.discard(key)
            self._now -= size

        weakref.finalize(storage, gone)


def _caller():
    """The line of this project that is being run."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(ROOT) and "/.venv/" not in frame.filename and frame.filename != __file__:
            return f"{frame.filename[len(ROOT):]}:{frame.lineno}"
    return "?"
