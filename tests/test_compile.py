"""torch.compile with backends that only look at the graphs: how many there are, and that they compute the same."""
import numpy as np
import pytest
import torch
from fake_cuda import FakeCuda
from tiny_networks import NETWORKS, network
from torch._dynamo.testing import CompileCounterWithBackend

from common.errors import UserError
from model import Predictor, SAFASmall
from model.compiled import Compiled, compile_parts, compile_whole
from model.loss import three_frame_loss
from model.prepare import prepare_for_inference
from model.routing import Routing


@pytest.fixture
def compiler(monkeypatch):
    """Counts what is compiled (`frame_count`), and keeps the options that were given to torch.compile."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    counter.options = []
    compile = torch.compile

    def counting(function, mode=None, **options):
        counter.options.append({"mode": mode, **options})
        return compile(function, backend=counter, **options)

    monkeypatch.setattr(torch, "compile", counting)
    yield counter
    torch._dynamo.reset()


@pytest.mark.slow
@NETWORKS
def test_few_graphs_however_scales_and_timesteps_vary(kind, compiler):
    """For a size: encoder and what else works on an input frame; decoder and blocks at 1, 1/2, 1/4, each for a single
    sample and for any other number."""
    trained, cpu = network(kind), torch.device("cpu")
    with torch.no_grad():
        trained.flow.selector.decide.bias.fill_(20)  # for what nobody gives scales of: two frames restored at once
    plain, compiled = (prepare_for_inference(trained, cpu, "fp32", compile=wanted) for wanted in (False, True))
    several = [[2, 1, 4], [1, 1, 2, 4, 2, 4, 4], [2, 2, 4, 4, 1], [4, 1, 4, 1], [1, 2, 1, 2, 1, 1], [2, 4]]
    first = 9
    # It goes through 1/4 and 1/2 on its way to 1, with two frames and with one timestep.
    used_at_1 = 6 if kind is SAFASmall else 1
    then = first + len(trained.parts) + used_at_1
    for height, calls, graphs in ((8, [[1], *several], first), (12, [[1], [1]], then)):
        for scales in calls:
            with torch.inference_mode():
                frames, times = torch.rand(2, 3, height, 8), torch.rand(1, len(scales))
                routing = Routing(scales=torch.tensor(scales).expand(trained.blocks, -1))
                expected, found = (model(frames[:1], frames[1:], times, routing) for model in (plain, compiled))
            assert torch.equal(expected.frames, found.frames)
            assert torch.equal(torch.stack(expected.scales), torch.stack(found.scales))
        assert compiler.frame_count == graphs


@pytest.mark.slow
@NETWORKS
def test_training_compiled_gives_the_same_gradients(kind, compiler):
    """And validation in between, at another size and without gradients."""
    plain, compiled = (network(kind).train() for _ in range(2))
    compile_parts(compiled)
    generator = torch.Generator().manual_seed(0)
    counts = []
    for batch in (2, 3):
        inputs, targets = torch.rand(batch, 6, 8, 8), torch.rand(batch, 9, 32, 32)
        routing = Routing(draws=torch.rand(plain.blocks, 3 * batch, 2, generator=generator))
        for model in (plain, compiled):
            frames = model(*inputs.split(3, 1), torch.full((batch, 1), 0.5), routing, ends=True).frames
            three_frame_loss(frames, targets).backward()
            with torch.no_grad():
                model(torch.rand(1, 3, 12, 8), torch.rand(1, 3, 12, 8), torch.rand(1, 3))
        counts.append(compiler.frame_count)
    assert counts[0] == counts[1] <= 10 + len(plain.parts)  # each part is a graph more
    for one, other in zip(plain.parameters(), compiled.parameters()):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.slow
@NETWORKS
def test_all_of_a_call_is_one_graph_where_no_selector_decides(kind, compiler):
    trained, cpu = network(kind), torch.device("cpu")
    plain, whole = (prepare_for_inference(trained, cpu, "fp32") for _ in range(2))
    compile_parts(whole)
    compile_whole(whole)
    calls = 1 + plain.restores  # `interpolate`, and `restore`
    assert [options["mode"] for options in compiler.options].count("reduce-overhead") == calls
    with torch.inference_mode():
        def both(number, routing):
            working = plain.padded(plain.working_frames(torch.rand(2, 3, 8, 8), (32, 32)))
            working = [frame[None].clone() for frame in working]
            features, times = [plain.encode(frame) for frame in working], torch.rand(1, number)

            def result(model):
                given = [model.restore(working[i], features[i], working[1 - i], features[1 - i], routing).frames
                         for i in (0, 1)]
                return model.interpolate(*given, *features, times, routing)
            return [result(model) for model in (plain, whole)]

        # With another scale a graph for each of the calls; what is a number of timesteps, only `interpolate` knows.
        for graphs, number, routing in ((calls, 1, Routing(cap=4)), (calls + 1, 3, Routing(cap=4)),
                                        (calls + 1, 5, Routing(cap=4)), (2 * calls + 1, 2, Routing(scale=2))):
            expected, found = both(number, routing)
            torch.testing.assert_close(expected[:3], found[:3], atol=1e-5, rtol=0)  # enlarged by OpenCV or by PyTorch
            assert torch.equal(torch.stack(expected.scales), torch.stack(found.scales))
            assert compiler.frame_count == graphs
        torch.testing.assert_close(*(prediction.frames for prediction in both(2, Routing(cap=2))))
    assert compiler.frame_count > 4


@pytest.mark.parametrize("cap", [1, 4])
def test_on_a_gpu_a_call_is_a_cuda_graph_if_nothing_is_decided_in_it(cap, monkeypatch):
    """On a CUDA device made of nothing, with a compiler that does nothing."""
    ran = []

    def compile(function, mode=None, **options):
        return lambda *arguments: ran.append(mode) or function(*arguments)

    monkeypatch.setattr(torch, "compile", compile)
    with FakeCuda() as gpu:
        predictor = Predictor(network(SAFASmall), device="cuda", compile=True, scale_cap=cap)
        gpu.reset()
        found = predictor.interpolate(*np.zeros((2, 8, 8, 3), np.uint8), [0.25, 0.5])
    # Both frames are restored in one call. The selector is waited for in that and in what lies between; what comes out
    # once.
    assert len(found) == 2 and len(gpu.waits) == (1 if cap == 4 else 3)
    assert ran.count("reduce-overhead") == (2 if cap == 4 else 0)


def test_sizes_beyond_the_limit_are_named_and_not_compiled(compiler, monkeypatch, capsys):
    monkeypatch.setattr("model.compiled.MOST_SIZES", 2)
    double = Compiled(lambda x: 2 * x)
    for width in (3, 4, 5, 3, 6, 4):
        x = torch.rand(2, 1, 1, width)
        assert torch.equal(double(x), 2 * x)
    assert compiler.frame_count == 2
    assert capsys.readouterr().err.count("further ones are not compiled") == 1


def test_a_compiler_that_fails_is_one_line(monkeypatch):
    def failing(graph, inputs):
        raise RuntimeError("no compiler here\nand more")

    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile(function, backend=failing, **options))
    with pytest.raises(UserError, match="do without --compile: .*no compiler here$"):
        Compiled(lambda x: 2 * x)(torch.rand(2, 1, 1, 7))
