/** timm's names of tensors and the zoo's for the same, a function for each family of networks. */

/** A name that timm's network does not have stays as it is. */
export type Rename = (tensor: string) => string;

/**
 * @param ends layers outside of blocks
 * @param blocks matches the name of a layer within a block
 * @param inBlock the zoo's name of that layer, from what the groups of `blocks` matched
 */
function renames(
  ends: Record<string, string>,
  blocks?: RegExp,
  inBlock?: (...parts: string[]) => string | undefined,
): Rename {
  const outside = places(ends);
  return (tensor) => {
    const [, layer = '', what = ''] = /^(.+)\.(\w+)$/.exec(tensor) ?? [];
    const found = blocks?.exec(layer);
    const place = found ? inBlock?.(...found.slice(1)) : outside.get(layer);
    return place === undefined ? tensor : `${place}.${what}`;
  };
}

function places(names: Record<string, string>): ReadonlyMap<string, string> {
  return new Map(Object.entries(names));
}

/** Stage, block and layer in the networks that timm builds by one recipe: MobileNetV2, MNASNet, EfficientNet. */
const MOBILE = /^blocks\.([0-6])\.(\d+)\.([\w.]+)$/;

/** Blocks before each stage: `features` counts them through. */
const BLOCKS_BEFORE = [0, 1, 3, 6, 10, 13, 16];
const V2_FIRST = places({ conv_dw: '0.0', bn1: '0.1', conv_pw: '1', bn2: '2' });
const V2_BLOCK = places({ conv_pw: '0.0', bn1: '0.1', conv_dw: '1.0', bn2: '1.1', conv_pwl: '2', bn3: '3' });

export const mobilenetV2: Rename = renames(
  {
    ...{ conv_stem: 'features.0.0', bn1: 'features.0.1' },
    ...{ conv_head: 'features.18.0', bn2: 'features.18.1', classifier: 'classifier.1' },
  },
  MOBILE,
  (stage = '', block, layer = '') => {
    const place = (stage === '0' ? V2_FIRST : V2_BLOCK).get(layer);
    return place && `features.${BLOCKS_BEFORE[+stage]! + Number(block) + 1}.conv.${place}`;
  },
);

const MNAS_FIRST = places({ conv_dw: '3', bn1: '4', conv_pw: '6', bn2: '7' });
const MNAS_BLOCK = places({ conv_pw: '0', bn1: '1', conv_dw: '3', bn2: '4', conv_pwl: '6', bn3: '7' });

export const mnasnet: Rename = renames(
  { conv_stem: 'layers.0', bn1: 'layers.1', conv_head: 'layers.14', bn2: 'layers.15', classifier: 'classifier.1' },
  MOBILE,
  (stage, block, layer = '') => {
    const place = (stage === '0' ? MNAS_FIRST : MNAS_BLOCK).get(layer);
    return place && (stage === '0' ? `layers.${place}` : `layers.${Number(stage) + 7}.${block}.layers.${place}`);
  },
);

const EFFICIENT_FIRST = places({
  ...{ conv_dw: '0.0', bn1: '0.1', 'se.conv_reduce': '1.fc1', 'se.conv_expand': '1.fc2', conv_pw: '2.0', bn2: '2.1' },
});
const EFFICIENT_BLOCK = places({
  ...{ conv_pw: '0.0', bn1: '0.1', conv_dw: '1.0', bn2: '1.1', conv_pwl: '3.0', bn3: '3.1' },
  ...{ 'se.conv_reduce': '2.fc1', 'se.conv_expand': '2.fc2' },
});

export const efficientnet: Rename = renames(
  {
    ...{ conv_stem: 'features.0.0', bn1: 'features.0.1' },
    ...{ conv_head: 'features.8.0', bn2: 'features.8.1', classifier: 'classifier.1' },
  },
  MOBILE,
  (stage, block, layer = '') => {
    const place = (stage === '0' ? EFFICIENT_FIRST : EFFICIENT_BLOCK).get(layer);
    return place && `features.${Number(stage) + 1}.${block}.block.${place}`;
  },
);

/** Stages with squeeze-and-excitation have another number of layers in a block. */
interface V3 {
  /** Blocks before each stage; the last is the convolution before the pooling. */
  before: readonly number[];
  squeezed: readonly number[];
}
const V3_LARGE: V3 = { before: [0, 1, 3, 6, 10, 12, 15], squeezed: [2, 4, 5] };
const V3_SMALL: V3 = { before: [0, 1, 3, 6, 8, 11], squeezed: [0, 2, 3, 4] };

const v3 = ({ before, squeezed }: V3): Rename =>
  renames(
    {
      ...{ conv_stem: 'features.0.0', bn1: 'features.0.1' },
      ...{ conv_head: 'classifier.0', classifier: 'classifier.3' },
    },
    MOBILE,
    (stage, block, layer = '') => {
      const feature = `features.${before[Number(stage)]! + Number(block) + 1}`;
      if (Number(stage) === before.length - 1) {
        const last = places({ conv: '0', bn1: '1' }).get(layer);
        return last && `${feature}.${last}`;
      }
      const place = (stage === '0' ? EFFICIENT_FIRST : EFFICIENT_BLOCK).get(layer);
      if (!place) return undefined;
      const [part, ...rest] = place.split('.');
      // Without squeeze-and-excitation what follows it moves up.
      const behind = Number(part) > (stage === '0' ? 1 : 2) && !squeezed.includes(Number(stage));
      return `${feature}.block.${Number(part) - Number(behind)}.${rest.join('.')}`;
    },
  );

export const mobilenetV3Large = v3(V3_LARGE);
export const mobilenetV3Small = v3(V3_SMALL);

const REGNET_BLOCK = places({
  ...{ 'conv1.conv': 'f.a.0', 'conv1.bn': 'f.a.1', 'conv2.conv': 'f.b.0', 'conv2.bn': 'f.b.1' },
  ...{ 'conv3.conv': 'f.c.0', 'conv3.bn': 'f.c.1', 'se.fc1': 'f.se.fc1', 'se.fc2': 'f.se.fc2' },
  ...{ 'downsample.conv': 'proj.0', 'downsample.bn': 'proj.1' },
});

export const regnet: Rename = renames(
  { 'stem.conv': 'stem.0', 'stem.bn': 'stem.1', 'head.fc': 'fc' },
  /^s([1-4])\.b(\d+)\.([\w.]+)$/,
  (stage, block, layer = '') => {
    const place = REGNET_BLOCK.get(layer);
    return place && `trunk_output.block${stage}.block${stage}-${Number(block) - 1}.${place}`;
  },
);

const CONVNEXT_BLOCK = places({ conv_dw: '0', norm: '2', 'mlp.fc1': '3', 'mlp.fc2': '5' });

const convnextLayers = renames(
  { 'stem.0': 'features.0.0', 'stem.1': 'features.0.1', 'head.norm': 'classifier.0', 'head.fc': 'classifier.2' },
  /^stages\.([0-3])\.(?:downsample\.([01])|blocks\.(\d+)\.([\w.]+))$/,
  (stage, downsample, block, layer = '') => {
    if (downsample) return `features.${2 * Number(stage)}.${downsample}`;
    const place = CONVNEXT_BLOCK.get(layer);
    return place && `features.${2 * Number(stage) + 1}.${block}.block.${place}`;
  },
);
const GAMMA = /^stages\.([0-3])\.blocks\.(\d+)\.gamma$/;

export const convnext: Rename = (tensor) => {
  const [, stage, block] = GAMMA.exec(tensor) ?? [];
  return stage ? `features.${2 * Number(stage) + 1}.${block}.layer_scale` : convnextLayers(tensor);
};

export const vgg: Rename = renames({
  ...{ 'pre_logits.fc1': 'classifier.0', 'pre_logits.fc2': 'classifier.3', 'head.fc': 'classifier.6' },
});
