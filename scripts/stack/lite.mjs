// @supabase/lite on our Postgres: the API, sign-in and Studio of the embedded stack.
//
//   node lite.mjs prepare   creates the schemas `auth` and `supabase_migrations` in an empty database
//   node lite.mjs serve     serves /rest/v1, /auth/v1 and Studio on 127.0.0.1
//
// LITE_SETTINGS: {"database": url, "port": number, "config": the tables of config.toml that lite reads}
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { serve } from "@hono/node-server";
import { serveStatic } from "@hono/node-server/serve-static";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { Hono } from "hono";

const { database, port, config } = JSON.parse(process.env.LITE_SETTINGS);

// lite encodes what is already JSON a second time, and writes times as Postgres prints them, which neither
// pydantic nor supabase-py reads.
const asJson = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const types = {
  timestamptz: { to: 1184, from: [1184], serialize: (time) => time.toISOString?.() ?? time, parse: isoTime },
  json: { to: 114, from: [114], serialize: asJson, parse: JSON.parse },
  jsonb: { to: 3802, from: [3802], serialize: asJson, parse: JSON.parse },
};

const connection = createPostgresConnection({ url: database, postgresOptions: { types, onnotice: () => {} } });

// Stock lite grants everything on every table as soon as it meets one with row-level security. We grant by name.
connection.rlsState = "active";

const app = new App({
  ...config,
  connection,
  options: { server: { admin: true, middlewares: [studioAsOwner] } },
});
await app.init();

if (process.argv[2] === "prepare") {
  await app.ensureSystemSchema();
  await connection.close();
} else {
  // Studio's page is the app's, its scripts are files beside it.
  const site = new Hono()
    .use("/static/*", serveStatic({ root: dirname(fileURLToPath(import.meta.resolve("@supabase/lite"))) }))
    .all("*", ({ req, env }) => app.fetch(req.raw, { peerAddress: env.incoming.socket.remoteAddress ?? null }));
  const server = serve({ fetch: site.fetch, port, hostname: "127.0.0.1" });
  process.on("SIGTERM", () => server.close(() => process.exit(0)) && server.closeAllConnections());
}

/**
 * Studio's requests carry no key; lite serves them, from this machine only, as service_role. Hosted Studio works as
 * `postgres`, and so must this one: our tables grant service_role next to nothing.
 */
async function studioAsOwner(context, next) {
  const set = context.set;
  context.set = (name, value) => set(name, name === "jwt" && context.get("admin") ? { role: "postgres" } : value);
  await next();
}

/** `2026-01-01 10:00:00.123456+00` → `2026-01-01T10:00:00.123456+00:00`; infinity stays as it is. */
function isoTime(text) {
  return text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}
