"""What torchvision makes of pictures on PIL: the reference for the core's resizing and augmentation.

usage: images.py FOLDER
Writes for each case N: N.raw (u8 [height][width][channels]) and N.f32 (f32 [channels][height][width]); prints the cases
as JSON: {width, height, channels, request, exact}. Augmentation is drawn here again, from the definition of the stream.
"""
import json
import math
import os
import sys
import warnings

import numpy as np
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as F
from PIL import Image

warnings.simplefilter('ignore')
folder = sys.argv[1]
rng = np.random.default_rng(0)
MODES = {'bilinear': T.InterpolationMode.BILINEAR, 'bicubic': T.InterpolationMode.BICUBIC}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
M64 = 2**64 - 1
cases = []


def picture(width, height, channels=3):
    """Half smooth, half noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 120 * np.sin(x / (3 + i)) * np.cos(y / (4 + i)) for i in range(channels)]
    pixels = np.stack(planes, -1)
    pixels[:, width // 2:] = rng.integers(0, 256, pixels[:, width // 2:].shape)
    return np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8))


def as_image(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def keep(pixels, expected, request, exact=True):
    number = len(cases)
    pixels.tofile(os.path.join(folder, f'{number}.raw'))
    expected.numpy().astype(np.float32).tofile(os.path.join(folder, f'{number}.f32'))
    height, width, channels = pixels.shape
    shape = list(expected.shape)
    cases.append(dict(width=width, height=height, channels=channels, request=request, exact=exact, shape=shape))


def sized(resize, crop, interpolation):
    steps = [T.Resize(resize, MODES[interpolation])] if resize else []
    return steps + ([T.CenterCrop(crop)] if crop else [])


def plain(pixels, resize, crop, interpolation, channels=3):
    image = as_image(pixels)
    if channels == 1:
        image = image.convert('L')
    mean, std = (MEAN, STD) if channels == 3 else ([0.5] * channels, [0.25] * channels)
    transform = T.Compose(sized(resize, crop, interpolation) + [T.ToTensor(), T.Normalize(mean, std)])
    request = dict(resize=resize, crop=crop, interpolation=interpolation, mean=mean, std=std, channels=channels)
    keep(pixels, transform(image), request)


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


class Draws:
    def __init__(self, seed, epoch, sample):
        name = 0xCBF29CE484222325
        for byte in b'augment':
            name = ((name ^ byte) * 0x100000001B3) & M64
        key = mix(mix(seed) ^ name)
        self.key, self.epoch, self.sample = (key & 0xFFFFFFFF, key >> 32), epoch, sample

    def at(self, place):
        counter = (place // 4, self.epoch, self.sample & 0xFFFFFFFF, self.sample >> 32)
        return (philox(counter, self.key)[place % 4] + 0.5) / 2**32

    def between(self, place, low, high):
        return low + (high - low) * self.at(place)

    def index(self, place, count):
        return min(int(self.at(place) * count), count - 1)


def crop(image, augment, draws, size, interpolation):
    (low, high), ratio = augment['scale'], [math.log(r) for r in augment['ratio']]
    for attempt in range(10):
        place = 16 + attempt * 4
        area = image.width * image.height * draws.between(place, low, high)
        aspect = math.exp(draws.between(place + 1, *ratio))
        w, h = math.floor(math.sqrt(area * aspect) + 0.5), math.floor(math.sqrt(area / aspect) + 0.5)
        if 0 < w <= image.width and 0 < h <= image.height:
            top, left = draws.index(place + 2, image.height - h + 1), draws.index(place + 3, image.width - w + 1)
            return F.resized_crop(image, top, left, h, w, size, MODES[interpolation])
    raise RuntimeError('no crop: choose another case')


def jitter(image, augment, draws):
    order, left = [0, 1, 2, 3], draws.index(7, 24)
    for i in (3, 2, 1):
        order[i], order[left % (i + 1)] = order[left % (i + 1)], order[i]
        left //= i + 1
    names = ['brightness', 'contrast', 'saturation', 'hue']
    for change in order:
        reach = augment.get(names[change], 0)
        if reach == 0:
            continue
        centre = 0 if change == 3 else 1
        factor = draws.between(3 + change, centre - reach if change == 3 else max(0, 1 - reach), centre + reach)
        image = getattr(F, 'adjust_' + names[change])(image, factor)
    return image


def augmented(pixels, augment, sample, interpolation='bilinear', channels=3):
    seed, epoch, size, draws = 123456789012, 7, [24, 32], Draws(123456789012, 7, sample)
    image = as_image(pixels)
    if 'crop' in augment:
        image = crop(image, augment['crop'], draws, size, interpolation)
    else:
        image = T.Compose(sized(28, size, interpolation))(image)
    if draws.at(0) < augment.get('flip', 0):
        image = F.hflip(image)
    if draws.at(1) < augment.get('flipVertical', 0):
        image = F.vflip(image)
    if 'rotation' in augment:
        fill = [124, 116, 104][:channels]
        angle = draws.between(2, -augment['rotation'], augment['rotation'])
        image = F.rotate(image, angle, MODES['bilinear'], fill=fill)
    image = jitter(image, augment, draws)
    mean, std = MEAN[:channels], STD[:channels]
    expected = T.Compose([T.ToTensor(), T.Normalize(mean, std)])(image)
    request = dict(resize=28, crop=size, interpolation=interpolation, mean=mean, std=std, channels=channels,
                   augment=augment, seed=seed, epoch=epoch, samples=[sample])
    keep(pixels, expected, request, exact='rotation' not in augment)


for interpolation in MODES:
    for width, height, resize, size in [
        (500, 375, 256, 224), (375, 500, 256, 224), (64, 64, 256, 224), (31, 17, 8, 8), (32, 32, 32, None),
        (90, 61, 41, None), (90, 61, [41, 7], [12, 20]), (7, 200, [9, 9], None), (1, 1, 5, 5), (3, 2, 40, [64, 33]),
        (1000, 30, 24, 24), (50, 40, None, [30, 60]),
    ]:
        plain(picture(width, height), resize, size, interpolation)
    plain(picture(90, 61), 41, 32, interpolation, channels=1)
    plain(picture(90, 61, 1), 41, 32, interpolation, channels=1)
    augmented(picture(80, 70), {'crop': {'scale': [0.08, 1], 'ratio': [0.75, 4 / 3]}, 'flip': 0.5}, 11, interpolation)

for sample in range(4):
    augmented(picture(80, 70), {'flip': 0.5, 'flipVertical': 0.5}, sample)
    augmented(picture(80, 70), {'rotation': 30}, sample)
    augmented(picture(80, 70, 1), {'brightness': 0.5, 'contrast': 0.9, 'flip': 0.5}, sample, channels=1)
    for change, reach in [('brightness', 0.6), ('contrast', 2), ('saturation', 1.5), ('hue', 0.5)]:
        augmented(picture(80, 70), {change: reach}, sample)
    full = {'crop': {'scale': [0.35, 1], 'ratio': [0.75, 4 / 3]}, 'flip': 0.5, 'brightness': 0.4, 'contrast': 0.4}
    augmented(picture(80, 70), {**full, 'saturation': 0.4, 'hue': 0.1}, 2**40 + sample)

print(json.dumps(cases))
