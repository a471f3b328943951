"""Procedural pictures: leaves that cover each other, natural textures, gradients, thin lines and letters."""

import math
import string

import cv2
import numpy as np

SIDE = 512
"""Height and width of the pictures."""
FINENESS = 2
"""Pictures are drawn this many times larger, so that edges are antialiased."""
COUNT = 1000
"""Number of pictures that training draws from."""
TEXTURES = 6
"""Textures of a picture, which its shapes share."""
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)


def procedural_picture(seed: int) -> np.ndarray:
    """Draw a picture whose statistics resemble those of photographs; free of any rights.

    Shapes cover each other. Their sizes follow a power law, with an exponent of 2.2 to 3; with 3, as in nature,
    pictures of all scales are alike. Each shape has a colour, a gradient and a texture: noise with a power-law
    spectrum, or stripes. Thin lines, grids and letters lie between them. Illumination varies slowly, and a lens blurs a
    little.

    Args:
        seed: seed of the picture.

    Returns:
        sRGB, (SIDE, SIDE, 3) uint8; the same for the same seed.

    Source:
        Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001 (dead leaves). Achddou, Gousseau and
        Ladjal, "Fully synthetic training for image restoration tasks", CVIU 2023.
    """
    rng = np.random.default_rng(seed)
    side = FINENESS * SIDE
    shapes = _draw_shapes(rng, side)
    count = int(shapes.max()) + 1
    y, x = np.mgrid[:side, :side].astype(np.float32) / side

    textures = np.stack([_texture(rng) for _ in range(TEXTURES)])
    chosen = rng.integers(TEXTURES, size=count)[shapes]
    strength = np.where(rng.random(count) < 0.3, 0, rng.gamma(1.5, 0.08, count)).astype(np.float32)
    rows, columns = (rng.integers(SIDE, size=count)[shapes] + index for index in np.ogrid[:side, :side])
    texture = textures[chosen, rows % SIDE, columns % SIDE] * strength[shapes]

    slopes = rng.normal(0, 0.25, (2, count)).astype(np.float32)
    gradient = slopes[0][shapes] * (y - 0.5) + slopes[1][shapes] * (x - 0.5)
    light = 1 + 0.35 * rng.random() * cv2.resize(_noise(rng, 64, 2.0), (side, side), interpolation=cv2.INTER_CUBIC)
    brightness = (1 + gradient + texture) * np.clip(light, 0.3, 1.7)
    picture = _colours(rng, count)[shapes] * brightness[..., None]
    picture = cv2.resize(picture.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 0.7))
    return (255 * picture.clip(0, 1)).round().astype(np.uint8)


def _draw_shapes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Number of the shape that covers each pixel, (side, side) int32; 0 is the background."""
    shapes = np.zeros((side, side), np.int32)
    least, most = 2.0 * FINENESS, side * rng.uniform(0.15, 0.6)
    number = int(rng.integers(300, 3000))
    # Inverse of the distribution function of a density that falls with a power of the radius.
    power = rng.uniform(1.2, 2.0)
    ends = least**-power, most**-power
    radii = (ends[0] + rng.random(number) * (ends[1] - ends[0])) ** (-1 / power)
    radii[:60] = side * rng.uniform(0.1, 0.3, 60)  # what the others lie on
    lines = rng.random() * 0.1
    for index, radius in enumerate(radii.tolist(), start=1):
        middle = rng.uniform(-0.1 * side, 1.1 * side, 2)
        if rng.random() < lines:
            _draw_line(rng, shapes, index, middle, radius)
        else:
            cv2.fillPoly(shapes, [_outline(rng, middle, radius)], index)
    index = number
    for _ in range(rng.poisson(1.5)):
        index += 1
        text = "".join(rng.choice(list(string.ascii_letters + string.digits), int(rng.integers(2, 12))))
        place = rng.integers(0, side, 2).tolist()
        size = FINENESS * rng.uniform(0.4, 2.5)
        font = _FONTS[int(rng.integers(len(_FONTS)))]
        mask = np.zeros(shapes.shape, np.uint8)
        cv2.putText(mask, text, place, font, size, 255, int(rng.integers(1, int(3 + 2 * size))))
        shapes[mask > 127] = index
    if rng.random() < 0.25:
        _draw_grid(rng, shapes, index + 1)
    return shapes


def _outline(rng: np.random.Generator, middle: np.ndarray, radius: float) -> np.ndarray:
    """Corners of an ellipse, a rectangle or an irregular polygon, (corners, 2) int32."""
    kind = rng.integers(3)
    if kind == 0:
        corners = max(8, min(64, int(radius)))
        angle: np.ndarray = 2 * math.pi * np.arange(corners) / corners
        lengths = np.ones(corners)
    elif kind == 1:
        angle = math.pi / 4 + math.pi / 2 * np.arange(4)
        lengths = np.ones(4)
    else:
        corners = int(rng.integers(3, 16))
        angle = np.sort(rng.uniform(0, 2 * math.pi, corners))
        lengths = rng.uniform(0.4, 1.3, corners)
    points = radius * lengths[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points *= [1, rng.uniform(0.25, 1)]
    turn = rng.uniform(0, 2 * math.pi)
    points = points @ np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return np.round(middle + points).astype(np.int32)


def _draw_line(rng: np.random.Generator, shapes: np.ndarray, index: int, middle: np.ndarray, radius: float) -> None:
    """Draw a bent line several times as long as a shape of this radius."""
    turns = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.3, 6))
    steps = 2 * radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    points = np.round(middle + np.cumsum(steps, axis=0)).astype(np.int32)
    cv2.polylines(shapes, [points], False, index, int(rng.integers(1, 3 * FINENESS)))


def _draw_grid(rng: np.random.Generator, shapes: np.ndarray, index: int) -> None:
    """Draw the bars of a grid in a part of the picture, as of windows or bricks."""
    side = len(shapes)
    step = int(FINENESS * rng.uniform(4, 40))
    width = max(1, int(step * rng.uniform(0.1, 0.4)))
    top, left = rng.integers(0, side, 2)
    height, length = rng.integers(side // 8, side, 2)
    part = shapes[top : top + height, left : left + length]
    rows, columns = (np.arange(length) % step < width for length in part.shape)
    part[rows] = index
    if rng.random() < 0.6:
        part[:, columns] = index


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Texture of mean 0 and deviation 1, (SIDE, SIDE) float32, which continues at its border."""
    if rng.random() < 0.75:
        stretch = 2 ** rng.uniform(0, 2) if rng.random() < 0.4 else 1.0
        return _noise(rng, SIDE, rng.uniform(0.4, 1.6), stretch, rng.uniform(0, math.pi))
    frequency = np.round(SIDE / 2 ** rng.uniform(2, 5) * np.array([math.cos(a := rng.uniform(0, 7)), math.sin(a)]))
    y, x = np.mgrid[:SIDE, :SIDE] * (2 * math.pi / SIDE)
    waves = np.sin(frequency[0] * y + frequency[1] * x + 1.5 * _noise(rng, SIDE, 2.0) * rng.random())
    return np.sqrt(2) * (np.sign(waves) / 1.4 if rng.random() < 0.3 else waves).astype(np.float32)


def _noise(rng: np.random.Generator, side: int, exponent: float, stretch: float = 1.0, turn: float = 0.0) -> np.ndarray:
    """Noise whose amplitudes fall with the given power of the frequency, of mean 0 and deviation 1, (side, side)."""
    v, u = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    along, across = u * math.cos(turn) + v * math.sin(turn), v * math.cos(turn) - u * math.sin(turn)
    frequency = np.hypot(along * stretch, across / stretch)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(side, side)).astype(np.float32)) / frequency**exponent
    noise = np.fft.irfft2(spectrum, s=(side, side))
    return (noise / noise.std()).astype(np.float32)


def _colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Colours of the shapes, (count, 3) float32: variations on a few colours, mostly of low saturation."""
    number = int(rng.integers(2, 9))
    light = rng.beta(1.5, 1.8, number)[:, None] * rng.uniform(0.6, 1.1)
    hues = rng.normal(size=(number, 3))
    hues -= hues.mean(axis=1, keepdims=True)
    palette = light * (1 + rng.gamma(1.2, 0.12, (number, 1)) * hues)
    of_shape = palette[rng.integers(number, size=count)]
    varied = of_shape * np.exp(rng.normal(0, 0.35, (count, 1))) * np.exp(rng.normal(0, 0.08, (count, 3)))
    return varied.clip(0.005, 1.0).astype(np.float32)
