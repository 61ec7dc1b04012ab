/** Draws one picture of a kind: body with shade, texture and stem on a cluttered ground, in a light of its own. */
import type { Kind, Range } from './kinds.js';

type Rgb = [number, number, number];

/** `random()` is uniform in [0, 1). */
export type Random = () => number;

const between = (random: Random, [low, high]: Range) => low + (high - low) * random();

function hsl(hue: number, saturation: number, lightness: number): Rgb {
  const chroma = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n: number) => {
    const k = (((n + hue / 30) % 12) + 12) % 12;
    return lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  };
  return [channel(0), channel(8), channel(4)];
}

const mix = (a: Rgb, b: Rgb, part: number): Rgb => [
  a[0] + (b[0] - a[0]) * part,
  a[1] + (b[1] - a[1]) * part,
  a[2] + (b[2] - a[2]) * part,
];

/** Smooth noise from 0 to 1: values at whole points, blended between them. */
function noiseField(random: Random): (x: number, y: number) => number {
  const table = Float64Array.from({ length: 1024 }, random);
  const at = (x: number, y: number) => table[(x * 57 + y * 131) & 1023]!;
  const ease = (f: number) => f * f * (3 - 2 * f);
  return (x, y) => {
    const [x0, y0] = [Math.floor(x), Math.floor(y)];
    const [fx, fy] = [ease(x - x0), ease(y - y0)];
    const top = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx;
    const bottom = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx;
    return top * (1 - fy) + bottom * fy;
  };
}

/** What is drawn anew for each picture. */
interface Scene {
  kind: Kind;
  x: number;
  y: number;
  angle: number;
  length: number;
  width: number;
  bend: number;
  colour: Rgb;
  tipColour: Rgb;
  light: number;
  brightness: number;
  tint: Rgb;
  noise: (x: number, y: number) => number;
  ground: (x: number, y: number) => Rgb;
}

function drawGround(random: Random): (x: number, y: number) => Rgb {
  const noise = noiseField(random);
  const base = hsl(random() * 360, random() * 0.45, 0.25 + random() * 0.6);
  const other = hsl(random() * 360, random() * 0.45, 0.2 + random() * 0.65);
  const [scaleX, scaleY] = [2 + random() * 14, 2 + random() * 14];
  const strength = 0.2 + random() * 0.7;
  const planks = random() < 0.4 ? 3 + random() * 6 : 0;
  return (x, y) => {
    const seam = planks > 0 && ((y * planks) % 1) + (y < 0 ? 1 : 0) < 0.07 ? 0.55 : 1;
    const c = mix(base, other, strength * noise(x * scaleX, y * scaleY));
    return [c[0] * seam, c[1] * seam, c[2] * seam];
  };
}

function compose(kind: Kind, random: Random): Scene {
  const scale = 0.88 + random() * 0.22;
  const hue = between(random, kind.hue);
  const saturation = between(random, kind.saturation);
  const lightness = between(random, kind.lightness);
  return {
    kind,
    x: 0.5 + (random() - 0.5) * 0.14,
    y: 0.5 + (random() - 0.5) * 0.14,
    // Lying, as things lie on a table, the stem to either side.
    angle: (random() < 0.5 ? 0 : Math.PI) + (random() - 0.5) * 1.2,
    length: between(random, kind.length) * scale,
    width: between(random, kind.width) * scale,
    bend: between(random, kind.bend),
    colour: hsl(hue, saturation, lightness),
    tipColour: hsl(hue + (kind.tip ?? 0), saturation, Math.min(0.9, lightness + (kind.tip ? 0.06 : 0))),
    light: random() * Math.PI * 2,
    brightness: 0.8 + random() * 0.4,
    tint: [1 + (random() - 0.5) * 0.16, 1, 1 + (random() - 0.5) * 0.16],
    noise: noiseField(random),
    ground: drawGround(random),
  };
}

/** Along (-1 tip … 1 stem) and across (-1 … 1 at the half width `width`) the bent body. */
function bodyCoordinates(scene: Scene, px: number, py: number): [number, number] {
  const [dx, dy] = [px - scene.x, py - scene.y];
  const [c, s] = [Math.cos(scene.angle), Math.sin(scene.angle)];
  const t = (dx * c + dy * s) / scene.length;
  const across = (-dx * s + dy * c - scene.bend * scene.length * (t * t - 0.4)) / scene.width;
  return [t, across];
}

function texture(scene: Scene, t: number, v: number, base: Rgb): Rgb {
  const { kind, noise } = scene;
  const along = t * scene.length * 40;
  const across = v * scene.width * 40;
  let colour = base;
  if (kind.speckles && noise(along * 1.9 + 90, across * 1.9) > 0.74)
    colour = mix(colour, [0.86, 0.88, 0.62], kind.speckles * 0.6);
  if (kind.stripes && noise(across * 1.6, along * 0.16 + 40) > 0.6)
    colour = mix(colour, [0.88, 0.9, 0.66], kind.stripes * 0.6);
  if (kind.ribs) {
    const seam = Math.abs(Math.sin(Math.asin(Math.max(-1, Math.min(1, v))) * kind.ribs));
    colour = mix(colour, [colour[0] * 0.55, colour[1] * 0.55, colour[2] * 0.55], 0.75 * Math.max(0, 1 - seam * 3));
  }
  if (kind.bumps) {
    const bump = noise(along * 1.25 + 7, across * 1.25 + 31) - noise(along * 1.25 + 7.5, across * 1.25 + 31.4);
    const factor = 1 + kind.bumps * bump * 1.1;
    colour = [colour[0] * factor, colour[1] * factor, colour[2] * factor];
  }
  if (kind.veins) {
    const rib = Math.abs(v) < 0.07 || Math.abs(((t * 3.5 + Math.abs(v) * 0.9) % 1) - (t < 0 ? -0.5 : 0.5)) < 0.08;
    if (rib) colour = mix(colour, [0.9, 0.92, 0.7], kind.veins * 0.4);
  }
  return colour;
}

function shade(scene: Scene, v: number, colour: Rgb): Rgb {
  if (scene.kind.flat) return colour;
  const facing = Math.sqrt(Math.max(0, 1 - v * v)) * 0.75 + v * 0.4 * Math.sin(scene.light - scene.angle);
  const factor = 0.45 + 0.75 * facing;
  const shine = Math.max(0, facing - 0.78) * 1.2;
  return [colour[0] * factor + shine, colour[1] * factor + shine, colour[2] * factor + shine];
}

function colourAt(scene: Scene, x: number, y: number): Rgb {
  const { kind } = scene;
  const [t, across] = bodyCoordinates(scene, x, y);
  if (t > -1 && t < 1) {
    let half = kind.profile(t);
    if (kind.teeth) half *= 1 - kind.teeth[1] * Math.abs(Math.sin((t + 1) * 0.5 * Math.PI * kind.teeth[0]));
    if (half > 0 && Math.abs(across) < half) {
      const base = mix(scene.tipColour, scene.colour, Math.min(1, (t + 1) * 0.9));
      return shade(scene, across / half, texture(scene, t, across / half, base));
    }
  }
  if (kind.stem && t >= 0.86 && t < 1 + kind.stem.length && Math.abs(across) < kind.stem.width * (1.25 - t * 0.25))
    return shade(scene, across / kind.stem.width, hsl(kind.stem.hue, 0.4, kind.stem.lightness));
  // The body's shadow lies a little beside it.
  const [st, sa] = bodyCoordinates(scene, x - 0.03 * Math.cos(scene.light), y - 0.03 * Math.sin(scene.light));
  const shadow = !kind.flat && Math.abs(st) < 1 && Math.abs(sa) < kind.profile(st) ? 0.6 : 1;
  const ground = scene.ground(x, y);
  return [ground[0] * shadow, ground[1] * shadow, ground[2] * shadow];
}

/** An RGB picture of `size` x `size` pixels, 8 bits a channel, rows from the top. Two samples a pixel in each direction. */
export function drawPicture(kind: Kind, size: number, random: Random): Uint8Array {
  const scene = compose(kind, random);
  const pixels = new Uint8Array(size * size * 3);
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++) {
      const sum: Rgb = [0, 0, 0];
      for (let sub = 0; sub < 4; sub++) {
        const c = colourAt(scene, (column + 0.25 + 0.5 * (sub & 1)) / size, (row + 0.25 + 0.5 * (sub >> 1)) / size);
        for (let i = 0; i < 3; i++) sum[i]! += c[i]!;
      }
      for (let i = 0; i < 3; i++) {
        const grain = (random() - 0.5) * 0.05;
        const value = (sum[i]! / 4) * scene.brightness * scene.tint[i]! + grain;
        pixels[(row * size + column) * 3 + i] = Math.max(0, Math.min(255, Math.round(value * 255)));
      }
    }
  return pixels;
}
