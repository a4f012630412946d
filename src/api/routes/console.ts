import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyPluginAsync } from 'fastify';

/** The build copies the page beside the compiled API. */
const FOLDER = fileURLToPath(new URL('../../console', import.meta.url));
const PAGE = 'index.html';
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** Nothing but the page's own files, and nobody may frame it: it holds a token. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The console: files that hold no data, so anybody may have them; what they show they ask /v1 for, with a token. */
export const consoleRoutes: FastifyPluginAsync = async (app) => {
  app.get('/', { schema: { hide: true } }, (_request, reply) => reply.redirect('console'));
  for (const name of await readdir(FOLDER)) {
    const type = TYPES[path.extname(name)];
    if (type === undefined) continue;
    const content = await readFile(path.join(FOLDER, name));
    app.get(name === PAGE ? '/console' : `/console/${name}`, { schema: { hide: true } }, (_request, reply) =>
      reply.headers({ 'content-security-policy': POLICY, 'cache-control': 'no-cache' }).type(type).send(content),
    );
  }
};
