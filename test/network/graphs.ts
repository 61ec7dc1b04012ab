/** Small networks that the tests of this folder share. */
import { GraphBuilder } from '../../src/graph/builder.js';
import type { GraphDescription } from '../../src/graph/types.js';

/** Two residual stages with batch norm, named as torchvision's ResNets; ends in `fc`. */
export function tinyResNet(classes = 3, channels = 3): GraphDescription {
  const g = new GraphBuilder();
  const image = g.input('image', 'f32', ['N', channels, 'H', 'W']);
  let x = g.conv2d('conv1', image, { in: channels, out: 4, kernel: 3, padding: 1, bias: false });
  x = g.relu('relu', g.batchNorm('bn1', x, 4));
  x = block(g, 'layer1.0', x, 4);
  x = block(g, 'layer1.1', x, 4);
  x = g.maxPool('pool', x, { kernel: 2 });
  x = block(g, 'layer2.0', x, 4);
  x = block(g, 'layer10.0', x, 4);
  x = g.flatten('flatten', g.globalAveragePool('avgpool', x));
  return g.build([g.linear('fc', x, { in: 4, out: classes })]);
}

function block(g: GraphBuilder, name: string, x: string, width: number): string {
  let y = g.conv2d(`${name}.conv1`, x, { in: width, out: width, kernel: 3, padding: 1, bias: false });
  y = g.relu(`${name}.relu1`, g.batchNorm(`${name}.bn1`, y, width));
  y = g.conv2d(`${name}.conv2`, y, { in: width, out: width, kernel: 3, padding: 1, bias: false });
  y = g.batchNorm(`${name}.bn2`, y, width);
  return g.relu(`${name}.relu`, g.add(`${name}.add`, y, x));
}
