// Answers what is in pictures over HTTP: POST a picture, receive its labels as JSON. The event loop stays free meanwhile.
//   node examples/server.mjs [MODEL [PORT]]     curl --data-binary @photo.jpg http://localhost:8080/
// Without a model it makes one, asks itself once and ends.
import { createServer } from 'node:http';
import { load, ThawError } from 'thaw';
import { baseWeights, drawing, inFolder } from './shared/stand-ins.mjs';

const LARGEST = 10e6; // bytes

async function body(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > LARGEST) throw new ThawError('ERR_PICTURE_TOO_LARGE', `expected at most ${LARGEST} bytes for a picture`);
  }
  return Buffer.concat(chunks);
}

function serve(net) {
  return createServer(async (request, response) => {
    // A client that goes away gives its place in the queue back.
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const answer = (status, value) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    try {
      answer(200, await net.predict(await body(request), { top: 3, signal: gone.signal }));
    } catch (error) {
      if (gone.signal.aborted) return;
      const mine = !(error instanceof ThawError) || !error.code.startsWith('ERR_PICTURE');
      answer(mine ? 500 : 400, { code: error.code, message: error.message });
    }
  });
}

const [model, port = '8080'] = process.argv.slice(2);
if (model) {
  serve(await load(model)).listen(Number(port), () => console.log(`http://localhost:${port}/`));
} else {
  await inFolder(async (folder) => {
    const net = await load(await baseWeights(folder));
    const server = serve(net).listen(0, '127.0.0.1');
    await new Promise((ready) => server.once('listening', ready));
    const url = `http://127.0.0.1:${server.address().port}/`;
    for (const picture of [await drawing('disc'), Buffer.from('no picture')]) {
      const response = await fetch(url, { method: 'POST', body: picture });
      console.log(response.status, await response.json());
    }
    server.closeAllConnections();
    server.close();
    net.dispose();
  });
}
