import { describe, expect, it } from 'vitest';
import { withoutSoftmax } from '../../src/formats/scores.js';
import { GraphBuilder } from '../../src/graph/builder.js';

function start(): { g: GraphBuilder; scores: string } {
  const g = new GraphBuilder();
  const scores = g.linear('fc', g.input('x', 'f32', ['N', 4]), { in: 4, out: 3 });
  return { g, scores };
}

describe('a softmax at the end', () => {
  it('goes, and what reshapes its scores stays', () => {
    const { g, scores } = start();
    const shaped = g.reshape('shaped', g.softmax('soft', scores), [0, 3, 1]);
    const { graph, removed } = withoutSoftmax(g.build([g.flatten('flat', shaped)]))!;
    expect(removed).toEqual(['soft']);
    expect(graph.outputs).toEqual(['flat']);
    expect(graph.nodes.map(({ name, inputs }) => [name, inputs[0]])).toEqual([
      ['fc', 'x'],
      ['shaped', 'fc'],
      ['flat', 'shaped'],
    ]);
  });

  it('that is the output itself leaves the scores as output', () => {
    const { g, scores } = start();
    expect(withoutSoftmax(g.build([g.softmax('soft', scores)]))!.graph.outputs).toEqual(['fc']);
  });

  it('of each of several outputs goes', () => {
    const { g, scores } = start();
    const other = g.linear('aux', 'x', { in: 4, out: 2 });
    const built = g.build([g.softmax('soft', scores), other, g.softmax('soft2', g.scale('twice', other))]);
    const { graph, removed } = withoutSoftmax(built)!;
    expect(removed).toEqual(['soft', 'soft2']);
    expect(graph.outputs).toEqual(['fc', 'aux', 'twice']);
  });

  it('that something else reads stays, and so does one in the middle', () => {
    const { g, scores } = start();
    const soft = g.softmax('soft', scores);
    expect(withoutSoftmax(g.build([soft, g.relu('more', soft)]))).toBeNull();
    expect(withoutSoftmax(g.build([soft, soft]))).toBeNull();
    expect(withoutSoftmax(g.build([g.linear('last', soft, { in: 3, out: 2 })]))).toBeNull();
    const flat = g.flatten('flat', soft);
    expect(withoutSoftmax(g.build([flat, g.relu('after', flat)]))).toBeNull();
  });
});
