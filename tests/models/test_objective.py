import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from twostagealign.data import BurstBatch, degrade
from twostagealign.losses import (
    Charbonnier,
    Interpolation,
    LossInput,
    LossTerm,
    MatchSupervision,
    OneHot,
    PerFrame,
)
from twostagealign.matching import score_candidates, soft_match
from twostagealign.models import Objective
from twostagealign.options.registry import LOSSES, build
from twostagealign.options.schema import PAPER_LOSSES
from twostagealign.runtime.errors import UserError

SIZE, SCALE = 8, 4
ALL = {"linear", "srgb", "interpolation_linear", "interpolation_srgb", "match_supervision", "one_hot"}


def make(
    linear: float = 1,
    srgb: float = 1,
    interpolation: float = 1,
    match_supervision: float = 1e3,
    one_hot: float = 1e5,
    offset: float = 0,
    interpolation_until: int | None = None,
    **supervision: object,
) -> Objective:
    """The paper's terms, or some of them: a weight of 0 leaves a term out."""
    terms: list[LossTerm] = []
    for space, weight in (("linear", linear), ("srgb", srgb)):
        if weight:
            terms.append(Charbonnier(space, weight, offset))
            if interpolation:
                terms.append(Interpolation(space, interpolation * weight, interpolation_until, offset))
    terms += [MatchSupervision(match_supervision, **supervision)] if match_supervision else []
    terms += [OneHot(one_hot)] if one_hot else []
    return Objective(terms)


class Step:
    """A batch of two bursts with a prediction for each and a match of 9 candidates, some of them beyond the border."""

    def __init__(self, burst: BurstBatch | None = None) -> None:
        draw = torch.Generator().manual_seed(0)
        frames = torch.randint(0, 256, (2, 3, 3, 48, 48), generator=draw, dtype=torch.uint8)
        self.burst = burst or degrade(frames, [0, 1])
        self.origins = torch.tensor([[[8, 0]], [[4, 12]]])
        self.prediction = torch.rand(4, 3, 2 * SIZE, 2 * SIZE, generator=draw).requires_grad_()
        self.features = torch.randn(2, 3, 5, 6, 6, generator=draw).requires_grad_()

    def terms(self, objective: Objective, iteration: int = 0, picked: slice = slice(None)):
        """Terms for some of the bursts."""
        burst = BurstBatch(
            **{name: getattr(self.burst, name)[picked] for name in ("lq", "noise_map", "camera", "target", "clean_raw")}
        )
        halves = self.prediction.chunk(2)[: 2 if objective.interpolates(iteration) else 1]
        self.match = soft_match(self.features[picked], self.origins[picked] // SCALE, SIZE // SCALE, 2, 0.3)
        prediction = torch.cat([half[picked] for half in halves])
        return objective(prediction, self.match, burst, self.origins[picked], SIZE, SCALE, iteration)


@pytest.fixture
def step() -> Step:
    return Step()


def charbonnier(difference: np.ndarray) -> float:
    return np.sqrt(difference.astype(np.float64) ** 2 + 1e-6).sum()


def cut_targets(step: Step) -> np.ndarray:
    return np.stack(
        [
            target[:, 2 * y : 2 * y + 2 * SIZE, 2 * x : 2 * x + 2 * SIZE]
            for target, (y, x) in zip(step.burst.target.numpy(), step.origins[:, 0].tolist(), strict=True)
        ]
    )


def to_srgb(image: np.ndarray, step: Step, offset: float) -> np.ndarray:
    """White balance without rgb_gain, colour matrix, gamma."""
    camera, result = step.burst.camera, []
    for b, rgb in enumerate(image.astype(np.float64)):
        gains = np.array([camera.red_gain[b], 1, camera.blue_gain[b]])[:, None, None]
        balanced = (rgb * gains).clip(0, 1)
        srgb = np.einsum("ij,jhw->ihw", np.linalg.inv(camera.rgb2cam[b].double().numpy()), balanced).clip(0, 1)
        result.append((srgb + offset if offset else srgb.clip(1e-8)) ** (1 / 2.2))
    return np.stack(result)


def edges(target: np.ndarray) -> np.ndarray:
    taps = np.exp(-np.square(np.arange(-2, 3)) / 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    result = []
    for rgb in target.astype(np.float64):
        grey = np.tensordot([0.2989, 0.5870, 0.1140], rgb, 1)
        edge = convolve(np.abs(grey - convolve(grey, kernel, mode="constant")), kernel, mode="constant")
        result.append((edge - edge.min()) / (edge.max() - edge.min() + 1e-6))
    return np.stack(result)[:, None]


@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_restoration_terms(step, offset) -> None:
    objective = make(linear=0.7, srgb=1.3, offset=offset, interpolation=0.4)
    terms = step.terms(objective)
    main, interpolated = step.prediction.detach().numpy().reshape(2, 2, 3, 2 * SIZE, 2 * SIZE)
    target = cut_targets(step)
    for name, weight, view in (("linear", 0.7, lambda x: x), ("srgb", 1.3, lambda x: to_srgb(x, step, offset))):
        seen = view(target)
        assert terms[name].item() == pytest.approx(weight * charbonnier(view(main) - seen) / 2, rel=1e-4)
        expected = 0.4 * weight * charbonnier((view(interpolated) - seen) * edges(seen)) / 2
        assert terms[f"interpolation_{name}"].item() == pytest.approx(expected, rel=1e-4)


def test_match_supervision(step) -> None:
    found = step.terms(make(match_supervision=10))["match_supervision"].item()
    # Bilinear downsampling by 4 is the mean of the four pixels in the middle of each block.
    raw = step.burst.clean_raw.numpy()
    clean = sum(raw[..., y::4, x::4] for y in (1, 2) for x in (1, 2)) / 4
    match, side, total = step.match, SIZE // SCALE, 0.0
    for b in range(2):
        y0, x0 = (step.origins[b, 0] // SCALE).tolist()
        own = clean[b, 1, :, y0 : y0 + side, x0 : x0 + side]
        for frame in (0, 2):
            valid = match.valid[b, 0, frame].numpy()
            assert 2 <= valid.sum() < 9
            corners = match.candidates[b, 0, frame][valid].tolist()
            windows = [clean[b, frame, :, y : y + side, x : x + side] for y, x in corners]
            scores = -np.array([np.abs(window - own).mean() for window in windows])
            scores /= np.linalg.norm(scores)
            total += charbonnier(match.scores[b, 0, frame].detach().numpy()[valid] - scores)
    assert found == pytest.approx(10 * total / 2, rel=1e-4)


def test_one_hot(step) -> None:
    found = step.terms(make(one_hot=10))["one_hot"].item()
    total = 0.0
    for b in range(2):
        for frame in (0, 2):
            weights = step.match.weights[b, 0, frame].detach().numpy()[step.match.valid[b, 0, frame].numpy()]
            total += abs(weights.var(ddof=1) - 1 / len(weights))
    assert found == pytest.approx(10 * total / 2, rel=1e-4)


def test_the_paper_s_weights(step) -> None:
    terms = step.terms(Objective([build(LOSSES, node) for node in PAPER_LOSSES]))
    assert terms.keys() == ALL
    assert all(torch.equal(terms[name], term) for name, term in step.terms(make()).items())
    ones = step.terms(make(match_supervision=1, one_hot=1))
    ratios = {name: (terms[name] / ones[name]).item() for name in ALL}
    assert ratios == pytest.approx(dict.fromkeys(ALL, 1) | {"match_supervision": 1e3, "one_hot": 1e5})


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("linear", {"linear", "interpolation_linear"}),
        ("srgb", {"srgb", "interpolation_srgb"}),
        ("interpolation", {"interpolation_linear", "interpolation_srgb"}),
        ("match_supervision", {"match_supervision"}),
        ("one_hot", {"one_hot"}),
    ],
)
def test_terms_that_are_not_listed(step, name, gone) -> None:
    expected = step.terms(make())
    terms = step.terms(make(**{name: 0}))
    assert terms.keys() == ALL - gone
    for kept, value in terms.items():
        assert torch.equal(value, expected[kept])


@pytest.mark.parametrize(
    ("until", "iteration", "present"), [(5, 4, True), (5, 5, False), (0, 0, False), (None, 10**9, True)]
)
def test_terms_that_end(step, until, iteration, present) -> None:
    terms = step.terms(make(until=until), iteration)
    assert terms.keys() == (ALL if present else ALL - {"match_supervision"})

    objective = make(interpolation_until=until, until=None)
    assert objective.interpolates(iteration) == present
    branch = {"interpolation_linear", "interpolation_srgb"}
    assert step.terms(objective, iteration).keys() == (ALL if present else ALL - branch)


def test_the_loss_is_a_mean_over_bursts(step) -> None:
    both = step.terms(make())
    single = [step.terms(make(), picked=slice(b, b + 1)) for b in range(2)]
    for name in ALL:
        assert both[name].item() == pytest.approx((single[0][name].item() + single[1][name].item()) / 2, rel=1e-5)
        assert single[0][name].item() != pytest.approx(single[1][name].item(), rel=1e-3)


def test_a_doubled_batch_has_the_same_loss(step) -> None:
    expected = step.terms(make())
    twice = torch.tensor([0, 1, 0, 1])
    for name, value in step.terms(make(), picked=twice).items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(ALL))
def test_where_the_gradient_of_a_term_goes(step, name) -> None:
    step.terms(make())[name].backward()
    main, interpolated = (0, 0) if step.prediction.grad is None else step.prediction.grad.abs().sum((1, 2, 3)).chunk(2)
    if name in ("match_supervision", "one_hot"):
        reached = step.features.grad.abs().sum((2, 3, 4))
        assert (reached > 0).all()
        assert step.prediction.grad is None
    else:
        assert step.features.grad is None
        assert ((main > 0).all(), (interpolated > 0).all()) == (not name.startswith("inter"), name.startswith("inter"))


def test_the_restoration_terms_teach_the_feature_net(make_restorer) -> None:
    """Through the weights of the candidates, with no help of the losses on matching."""
    restorer, step = make_restorer().train(), Step()
    prediction, match = restorer(step.burst.lq, step.burst.noise_map, step.origins, SIZE, 16, 0.1)
    objective = make(match_supervision=0, one_hot=0)
    terms = objective(prediction, match, step.burst, step.origins, SIZE, SCALE, 0)
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in restorer.features.named_parameters():
        # The bias before the instance norm has no effect.
        assert name == "layers.6.bias" or parameter.grad.abs().max() > 0, name


def test_antialiased_supervision_blurs_the_clean_raw_with_a_triangle(step) -> None:
    found = step.terms(make(0, 0, one_hot=0, antialias=True))["match_supervision"]
    side = step.burst.clean_raw.shape[-1]
    centres = SCALE * (np.arange(side // SCALE) + 0.5) - 0.5
    triangle = (1 - np.abs(np.arange(side) - centres[:, None]) / SCALE).clip(0)
    triangle = torch.tensor(triangle / triangle.sum(1, keepdims=True), dtype=torch.float32)
    clean = torch.einsum("ih,bnchw,jw->bncij", triangle, step.burst.clean_raw, triangle)
    scores = score_candidates(clean, step.origins // SCALE, step.match, SIZE // SCALE)
    expected = 1e3 * charbonnier((step.match.scores - scores)[step.match.valid].detach().numpy()) / 2
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert float(step.terms(make(0, 0, one_hot=0))["match_supervision"].detach()) != found.item()


def test_without_a_match_its_terms_are_left_out(step: Step) -> None:
    terms = make()(step.prediction, None, step.burst, step.origins, SIZE, SCALE, 0)
    assert terms.keys() == ALL - {"match_supervision", "one_hot"}
    whole = step.terms(make())
    for name, term in terms.items():
        assert torch.equal(term, whole[name])


def test_each_frames_own_picture_counts_less_from_iteration_to_iteration(step) -> None:
    """The sum over frames, on both views, in place of an interpolation branch."""
    own = torch.rand(3 * 2, 3, 2 * SIZE, 2 * SIZE, generator=torch.Generator().manual_seed(1))
    prediction = torch.cat((step.prediction[:2], own))
    objective = Objective([Charbonnier("linear", 0.7), PerFrame("linear", 70, decay=0.5)])
    arguments = (prediction, None, step.burst, step.origins, SIZE, SCALE)
    target = cut_targets(step)
    distances = [charbonnier(picture.numpy() - target) for picture in own.split(2)]
    for iteration in (0, 3):
        terms = objective(*arguments, iteration)
        assert set(terms) == {"linear", "per_frame_linear"}
        expected = 0.7 * 100 * 0.5**iteration * sum(distances) / 2
        assert terms["per_frame_linear"].item() == pytest.approx(expected, rel=1e-4)


class Loss(LossTerm):
    """A term of another package."""

    weight = 3.0

    @property
    def name(self) -> str:
        return "loss"

    def __call__(self, x: LossInput) -> torch.Tensor:
        assert x.prediction.shape == x.target.shape == (len(x.burst.lq), 3, 2 * SIZE, 2 * SIZE)
        assert x.iteration == 7
        return x.prediction.new_ones(()) * len(x.burst.lq)


def test_a_term_of_another_package(step) -> None:
    """Its name does not hide that of the sum, nor that of a term of the same name."""
    terms = step.terms(Objective([Loss(), Charbonnier("linear"), Loss()]), 7)
    assert list(terms) == ["loss_2", "linear", "loss_3"]
    assert terms["loss_2"].item() == terms["loss_3"].item() == 3


def test_no_term_that_applies(step) -> None:
    objective = Objective([OneHot(), Interpolation("linear")])
    with pytest.raises(
        UserError, match=r"^train\.losses: no term in iteration 0; network and matching lack what they "
    ):
        objective(step.prediction[:2], None, step.burst, step.origins, SIZE, SCALE, 0)
