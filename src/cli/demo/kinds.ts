/**
 * What the demo draws: vegetables, fruits and leaves. A body lies along an axis that may bend; `profile` gives its half
 * width along the axis, textures are painted in the body's own coordinates. Ranges are drawn anew for each picture.
 */

/** A range that a value is drawn from, uniformly. */
export type Range = readonly [number, number];

export interface Kind {
  label: string;
  /** Half length of the axis and half width, as parts of the picture's side. */
  length: Range;
  width: Range;
  /** Half width (0 to 1) at t from -1 (tip) to 1 (stem). */
  profile: (t: number) => number;
  /** Bend of the axis: sideways shift of the ends, in half lengths. */
  bend: Range;
  /** Colour: hue in degrees, saturation and lightness from 0 to 1; `tip` is added to the hue towards the tip. */
  hue: Range;
  saturation: Range;
  lightness: Range;
  tip?: number;
  /** Strength from 0 to 1 of each texture. */
  speckles?: number;
  stripes?: number;
  /** Bright ribs or seams along the body: how many across. */
  ribs?: number;
  bumps?: number;
  veins?: number;
  /** Flat things (leaves) have no shine and no shade across. */
  flat?: boolean;
  /** Notches of the outline: number along the edge and depth. */
  teeth?: readonly [number, number];
  /** What sits at the stem's end: hue, length in parts of the body and width in parts of its width. */
  stem?: { hue: number; lightness: number; length: number; width: number };
}

const ellipse = (t: number) => Math.sqrt(Math.max(0, 1 - t * t));
const power = (sharpness: number) => (t: number) => Math.max(0, 1 - Math.abs(t) ** sharpness) ** 0.5;
const taper = (from: number, to: number) => (t: number) => power(6)(t) * (from + ((to - from) * (t + 1)) / 2);

/** The source task: twelve kinds. */
export const SOURCE_KINDS: readonly Kind[] = [
  {
    label: 'tomato',
    length: [0.24, 0.34],
    width: [0.27, 0.36],
    profile: ellipse,
    bend: [0, 0],
    hue: [-8, 45],
    saturation: [0.65, 0.95],
    lightness: [0.38, 0.55],
    stem: { hue: 110, lightness: 0.35, length: 0.12, width: 0.35 },
  },
  {
    label: 'orange',
    length: [0.25, 0.35],
    width: [0.26, 0.35],
    profile: ellipse,
    bend: [0, 0],
    hue: [4, 42],
    saturation: [0.75, 1],
    lightness: [0.45, 0.6],
    bumps: 0.7,
  },
  {
    label: 'pumpkin',
    length: [0.22, 0.32],
    width: [0.3, 0.42],
    profile: power(2.6),
    bend: [0, 0],
    hue: [4, 50],
    saturation: [0.6, 0.95],
    lightness: [0.4, 0.56],
    ribs: 4,
    stem: { hue: 70, lightness: 0.35, length: 0.22, width: 0.2 },
  },
  {
    label: 'pear',
    length: [0.34, 0.44],
    width: [0.22, 0.3],
    profile: (t) => ellipse(t) * (0.72 - 0.28 * Math.sin(t * 1.6)),
    bend: [-0.12, 0.12],
    hue: [52, 82],
    saturation: [0.4, 0.75],
    lightness: [0.5, 0.66],
    speckles: 0.35,
    stem: { hue: 35, lightness: 0.28, length: 0.16, width: 0.12 },
  },
  {
    label: 'potato',
    length: [0.3, 0.42],
    width: [0.2, 0.3],
    profile: power(2.4),
    bend: [-0.12, 0.12],
    hue: [28, 44],
    saturation: [0.28, 0.5],
    lightness: [0.48, 0.66],
    speckles: 0.7,
  },
  {
    label: 'aubergine',
    length: [0.36, 0.46],
    width: [0.17, 0.25],
    profile: taper(1.15, 0.6),
    bend: [-0.25, 0.25],
    hue: [262, 300],
    saturation: [0.3, 0.6],
    lightness: [0.16, 0.28],
    stem: { hue: 100, lightness: 0.32, length: 0.2, width: 0.75 },
  },
  {
    label: 'carrot',
    length: [0.38, 0.48],
    width: [0.1, 0.15],
    profile: taper(0.2, 1.2),
    bend: [-0.2, 0.2],
    hue: [10, 45],
    saturation: [0.75, 1],
    lightness: [0.46, 0.58],
    stripes: 0.5,
    stem: { hue: 105, lightness: 0.38, length: 0.28, width: 0.6 },
  },
  {
    label: 'banana',
    length: [0.38, 0.47],
    width: [0.09, 0.13],
    profile: power(4),
    bend: [0.35, 0.7],
    hue: [42, 90],
    saturation: [0.7, 0.95],
    lightness: [0.5, 0.64],
    tip: -12,
    ribs: 1,
    speckles: 0.3,
  },
  {
    label: 'pea pod',
    length: [0.36, 0.47],
    width: [0.07, 0.11],
    profile: (t) => ellipse(t) * (0.88 + 0.14 * Math.cos(t * 15)),
    bend: [-0.35, 0.35],
    hue: [70, 125],
    saturation: [0.45, 0.75],
    lightness: [0.36, 0.54],
    bumps: 0.2,
    stem: { hue: 100, lightness: 0.4, length: 0.1, width: 0.3 },
  },
  {
    label: 'chilli',
    length: [0.36, 0.46],
    width: [0.06, 0.1],
    profile: taper(0.15, 1.1),
    bend: [-0.5, 0.5],
    hue: [-10, 120],
    saturation: [0.7, 1],
    lightness: [0.36, 0.5],
    stem: { hue: 95, lightness: 0.45, length: 0.22, width: 0.6 },
  },
  {
    label: 'willow leaf',
    length: [0.4, 0.48],
    width: [0.06, 0.11],
    profile: (t) => 1 - t * t,
    bend: [-0.3, 0.3],
    hue: [78, 125],
    saturation: [0.3, 0.6],
    lightness: [0.32, 0.52],
    flat: true,
    veins: 0.8,
    stem: { hue: 60, lightness: 0.4, length: 0.12, width: 0.2 },
  },
  {
    label: 'oak leaf',
    length: [0.36, 0.46],
    width: [0.19, 0.28],
    profile: (t) => ellipse(t) * (0.85 - 0.2 * t),
    bend: [-0.12, 0.12],
    hue: [60, 125],
    saturation: [0.3, 0.6],
    lightness: [0.3, 0.5],
    flat: true,
    veins: 1,
    teeth: [5, 0.38],
    stem: { hue: 40, lightness: 0.35, length: 0.16, width: 0.08 },
  },
];

/** The target task: two kinds that the source network never saw and that share shape and colour. */
export const TARGET_KINDS: readonly Kind[] = [
  {
    label: 'cucumber',
    length: [0.36, 0.47],
    width: [0.1, 0.16],
    profile: power(5),
    bend: [-0.3, 0.3],
    hue: [88, 128],
    saturation: [0.35, 0.65],
    lightness: [0.22, 0.42],
    tip: -14,
    bumps: 0.9,
    stripes: 0.5,
  },
  {
    label: 'zucchini',
    length: [0.36, 0.47],
    width: [0.1, 0.16],
    profile: taper(1.08, 0.84),
    bend: [-0.3, 0.3],
    hue: [84, 124],
    saturation: [0.35, 0.65],
    lightness: [0.22, 0.44],
    speckles: 0.9,
    ribs: 2,
    stem: { hue: 75, lightness: 0.6, length: 0.24, width: 0.6 },
  },
];
