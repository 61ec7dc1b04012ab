"""Writes pictures of every kind into a folder and, for each, what PIL makes of it: NAME.rgb, NAME.rgba and sizes.json.

usage: pictures.py FOLDER [MORE...]   (MORE: files that exist already)
"""
import json
import os
import sys
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

warnings.simplefilter('ignore')
folder = sys.argv[1]
rng = np.random.default_rng(0)
save = lambda image, name, **options: image.save(os.path.join(folder, name), **options)


def smooth(channels, height=61, width=83):
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 100 * np.sin(x / (7 + i) + i) * np.cos(y / (5 + i)) for i in range(channels)]
    noisy = np.stack(planes, -1) + rng.normal(0, 8, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


rgb, rgba = Image.fromarray(smooth(3)), Image.fromarray(smooth(4))
cmyk, grey = Image.fromarray(smooth(4), 'CMYK'), Image.fromarray(smooth(1)[..., 0])
palette = rgb.quantize(32)
orientation = Image.Exif()
orientation[0x112] = 6

save(cmyk, 'cmyk.jpg', quality=95)
save(cmyk, 'cmyk.tif')
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
save(cmyk, 'cmyk-profile.jpg', icc_profile=profile)
save(rgb, 'profile.png', icc_profile=profile)
save(grey, 'grey-profile.jpg', icc_profile=profile)
save(cmyk, 'cmyk-turned.jpg', exif=orientation)
adobe = open(os.path.join(folder, 'cmyk.jpg'), 'rb').read()
at = adobe.find(b'\xff\xee')
length = adobe[at + 2] * 256 + adobe[at + 3]
open(os.path.join(folder, 'cmyk-no-adobe.jpg'), 'wb').write(adobe[:at] + adobe[at + 2 + length:])
save(grey, 'grey.jpg')
for number, name in enumerate(['444', '422', '420']):
    save(rgb, name + '.jpg', subsampling=number)
save(rgb, 'progressive.jpg', progressive=True)
deep = rng.integers(0, 600, (31, 37)).astype(np.uint16)
save(Image.fromarray(deep), 'grey16.png')
save(Image.fromarray(deep), 'grey16.tif')
save(Image.fromarray(rng.uniform(-50, 400, (31, 37)).astype(np.float32), 'F'), 'float.tif')
save(palette, 'palette.png')
save(palette, 'palette-transparent.png', transparency=3)
save(palette, 'palette-alpha.png', transparency=bytes(range(0, 256, 8)))
save(palette, 'palette.tif')
save(palette, 'palette.gif')
save(palette, 'palette-transparent.gif', transparency=3)
save(rgb.resize((300, 200)).quantize(256), 'interlaced.gif', interlace=1)
save(Image.effect_noise((400, 300), 80), 'noise.gif', interlace=0)
save(grey.convert('1'), 'bits.png')
save(grey.convert('1'), 'bits.tif')
save(grey.quantize(4), 'palette2.png', bits=2)
save(grey, 'grey-transparent.png', transparency=100)
save(rgb, 'rgb-transparent.png', transparency=(1, 2, 3))
save(Image.fromarray(smooth(2), 'LA'), 'grey-alpha.png')
save(rgba, 'rgba.png')
save(rgba, 'rgba.tif')
save(rgba, 'rgba.webp')
save(rgba, 'rgba-lossless.webp', lossless=True, exact=True)
save(rgb, 'rgb.webp')
save(rgb, 'turned.png', exif=orientation)
save(rgb, 'turned.webp', exif=orientation)
save(rgb, 'lzw.tif', compression='tiff_lzw')
save(rgb, 'turned.tif', tiffinfo={0x112: 6})
save(rgb, 'moving.webp', save_all=True, append_images=[Image.fromarray(smooth(3))])

# A frame smaller than its screen.
small = bytearray(open(os.path.join(folder, 'palette-transparent.gif'), 'rb').read())
small[6:8] = (92).to_bytes(2, 'little')
small[8:10] = (66).to_bytes(2, 'little')
small[bytes(small).find(b',\0\0\0\0') + 1] = 4
open(os.path.join(folder, 'small-frame.gif'), 'wb').write(bytes(small))

sizes = {}
for file in [os.path.join(folder, name) for name in sorted(os.listdir(folder))] + sys.argv[2:]:
    name = os.path.basename(file)
    image = Image.open(file)
    # PIL 9.4 turns a TIFF when it loads it, and exif_transpose would turn it once more.
    if image.format != 'TIFF':
        image = ImageOps.exif_transpose(image)
    sizes[name] = {'file': file, 'width': 0, 'height': 0}
    for mode in ('RGB', 'RGBA'):
        pixels = image.convert(mode)
        open(os.path.join(folder, f'{name}.{mode.lower()}'), 'wb').write(pixels.tobytes())
    sizes[name].update(width=pixels.width, height=pixels.height, mode=image.mode)
print(json.dumps(sizes))
