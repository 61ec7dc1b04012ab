// The package from CommonJS.
const { create, ThawError } = require('thaw');

create('cifar_resnet20', { classes: 3 }).then(async (net) => {
  const image = { data: new Float32Array(3 * 32 * 32), shape: [1, 3, 32, 32] };
  const { shape } = Object.values(await net.forward({ image }))[0];
  net.dispose();
  console.log(JSON.stringify({ shape, error: typeof ThawError }));
});
