/** A small network in Darknet's form. */

export const SMALL = `# a comment first
[net]
width=8
height=6
channels=3

[convolutional]
filters=4
size=3
pad=1
stride=2
groups=1
batch_normalize=1
activation=leaky

[maxpool]
size=2
stride=1

[upsample]
stride=2

[route]
layers=-1
groups=2
group_id=1

[convolutional]
filters=6
size=1
activation=linear

[avgpool]

[softmax]
`;

/** Number of weights of SMALL. */
export const COUNT = 4 * 4 + 4 * 3 * 9 + 6 + 6 * 2;

/** A .weights file of `count` numbers; the header's version is 0.`minor`. */
export function darknetWeights(count: number, minor = 2): Buffer {
  const header = minor === 2 ? 20 : 16;
  const weights = Buffer.alloc(header + 4 * count);
  weights.writeInt32LE(minor, 4);
  for (let i = 0; i < count; i++) weights.writeFloatLE(0.1 + (i % 7) / 10, header + 4 * i);
  return weights;
}
