// A network described by hand, trained by a loop of one's own: two spirals, two numbers in, one of two labels out.
import { fromGraph, GraphBuilder } from 'thaw';
import { random } from './shared/stand-ins.mjs';

const g = new GraphBuilder();
const point = g.input('point', 'f32', ['N', 2]);
let x = g.tanh('act1', g.linear('layer1', point, { in: 2, out: 32 }));
x = g.tanh('act2', g.linear('layer2', x, { in: 32, out: 32 }));
const net = await fromGraph(g.build([g.linear('last', x, { in: 32, out: 2 })]), { labels: ['red', 'blue'], seed: 3 });
console.log(String(await net.summary()));

/** n points of each spiral. */
function spirals(n, seed) {
  const next = random(seed);
  const data = new Float32Array(4 * n);
  const target = new Int32Array(2 * n);
  for (let i = 0; i < 2 * n; i++) {
    target[i] = i % 2;
    const radius = next();
    const angle = 6 * radius + Math.PI * target[i] + 0.1 * next();
    data.set([radius * Math.cos(angle), radius * Math.sin(angle)], 2 * i);
  }
  return { point: { data, shape: [2 * n, 2] }, target: { data: target, shape: [2 * n] } };
}

const train = spirals(200, 1);
for (let i = 0; i < 400; i++) {
  const { loss } = await net.step(train, { update: { optimizer: 'adam', learningRate: 0.01 }, seed: 0, epoch: i });
  if (i % 100 === 0) console.log(`step ${i}  loss ${loss.toFixed(4)}`);
}

const test = spirals(100, 2);
const { last } = await net.forward({ point: test.point });
let right = 0;
for (let i = 0; i < 200; i++) if ((last.data[2 * i + 1] > last.data[2 * i] ? 1 : 0) === test.target.data[i]) right++;
console.log(`${right} of 200 new points`);

const { gradients } = await net.gradients(test);
console.log(
  Object.entries(gradients)
    .map(([name, { shape }]) => `${name} [${shape.join(', ')}]`)
    .join('  '),
);
net.dispose();
