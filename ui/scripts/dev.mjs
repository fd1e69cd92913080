// `npm run dev`: the mock server and Vite in front of it. WEIR=http://127.0.0.1:9480 uses a real server instead.
import { createServer } from 'vite';
import { startMock } from '../mock/server.mjs';

const target = process.env.WEIR || (await startMock()).url;
const vite = await createServer({ server: { proxy: { '/api': { target, ws: true, changeOrigin: true } } } });
await vite.listen();
vite.printUrls();
console.log(`answers come from ${target}`);
