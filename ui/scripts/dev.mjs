// `npm run dev`: the mock server and Vite in front of it. WEIR=http://127.0.0.1:9480 uses a real server instead.
import { createServer } from 'vite';
import { startMock } from '../mock/server.mjs';

const target = process.env.WEIR || (await startMock()).url;
// The server takes the live line only from its own pages, so the origin goes along changed.
const vite = await createServer({
  server: { proxy: { '/api': { target, ws: true, changeOrigin: true, headers: { origin: new URL(target).origin } } } },
});
await vite.listen();
vite.printUrls();
console.log(`answers come from ${target}`);
