import { describe, expect, it } from 'vitest';
import { elements } from '../../src/formats/checkpoint.js';
import { architectures, build } from '../../src/zoo/index.js';

const count = (name: string): number =>
  build(name).graph.parameters.reduce((sum, { shape }) => sum + elements(shape), 0);

describe('build', () => {
  it.each([
    ['alexnet', 61100840],
    ['vgg16_bn', 138365992],
    ['resnet18', 11689512],
    ['resnet50', 25557032],
    ['wide_resnet101_2', 126886696],
    ['resnext101_64x4d', 83455272],
    ['squeezenet1_1', 1235496],
    ['mobilenet_v2', 3504872],
    ['densenet121', 7978856],
    ['shufflenet_v2_x1_0', 2278604],
    ['mnasnet1_0', 4383312],
    ['mobilenet_v3_large', 5483032],
    ['regnet_y_400mf', 4344144],
    ['efficientnet_b0', 5288548],
    ['convnext_tiny', 28589128],
    ['googlenet', 6624904],
    ['inception_v3', 23834568],
    ['darknet19', 20842376],
    ['darknet53', 41609928],
    ['cifar_resnet20', 269722],
  ])('%s has %i parameters', (name, parameters) => expect(count(name)).toBe(parameters));

  it.each(architectures())('%s is a graph in order, with distinct names', (name) => {
    const { graph, classifier, headBoundary, layers, features, bodyChannels } = build(name, {
      classes: 7,
      channels: 1,
    });
    const known = new Set<string>();
    const declared = [...graph.inputs, ...graph.parameters, ...graph.states].map((value) => value.name);
    for (const value of declared) {
      expect(known.has(value), value).toBe(false);
      known.add(value);
    }
    for (const node of graph.nodes) {
      for (const input of node.inputs) expect(input === null || known.has(input), `${node.name} ← ${input}`).toBe(true);
      expect(known.has(node.name), node.name).toBe(false);
      known.add(node.name);
    }
    const read = new Set(graph.nodes.flatMap((node) => node.inputs));
    for (const value of [...declared, ...graph.nodes.map((node) => node.name)]) {
      expect(read.has(value) || graph.outputs.includes(value), `${value} is read`).toBe(true);
    }
    const weight = graph.parameters.find((p) => p.name === `${classifier}.weight`)!;
    expect(weight.shape.slice(0, 2)).toEqual([7, features]);
    expect(graph.nodes.some((node) => node.name === headBoundary)).toBe(true);
    expect(bodyChannels).toBeGreaterThan(0);
    for (const parameter of graph.parameters) {
      const owners = layers.filter((layer) => parameter.name.startsWith(`${layer}.`));
      expect(owners, parameter.name).toHaveLength(1);
    }
    expect(graph.parameters[0]!.shape[1]).toBe(1);
  });

  it('carries published preprocessing', () => {
    expect(build('resnet18').preprocessing).toEqual({
      ...{ resize: 256, crop: 224, interpolation: 'bilinear', channels: 3, source: 'assumed' },
      ...{ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    });
    expect(build('cifar_resnet56', { channels: 1 }).preprocessing).toMatchObject({
      ...{ resize: [32, 32], crop: null, mean: [0.449], std: [0.226], channels: 1 },
    });
  });

  it("carries each architecture's own preprocessing", () => {
    expect(build('efficientnet_b3').preprocessing).toMatchObject({ resize: 320, crop: 300, interpolation: 'bicubic' });
    expect(build('efficientnet_b7').input).toEqual({ channels: 3, height: 600, width: 600 });
    // -1..1, which torchvision's networks make of ImageNet's mean and deviation themselves.
    const half = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
    expect(build('googlenet').preprocessing).toMatchObject({ resize: 256, crop: 224, ...half });
    expect(build('inception_v3').preprocessing).toMatchObject({ resize: 342, crop: 299, ...half });
    expect(build('inception_v3').input).toEqual({ channels: 3, height: 299, width: 299 });
    expect(build('darknet53').preprocessing).toMatchObject({ crop: 256, mean: [0, 0, 0], std: [1, 1, 1] });
    expect(build('convnext_tiny').preprocessing).toMatchObject({ resize: 236, crop: 224, interpolation: 'bilinear' });
  });

  it.each([
    ['ERR_ARCHITECTURE', () => build('resnet19')],
    ['ERR_OPTION', () => build('resnet18', { classes: 0 })],
    ['ERR_OPTION', () => build('resnet18', { classes: 1.5 })],
    ['ERR_OPTION', () => build('resnet18', { channels: 2 })],
  ])('%s', (code, call) => expect(call).toThrowError(expect.objectContaining({ code }) as Error));
});
