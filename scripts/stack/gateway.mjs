// What stands before PostgREST on a hosted project: API keys become tokens, /rest/v1 and /auth/v1 one address.
//
// GATEWAY_SETTINGS: {"port", "rest": PostgREST's port, "auth": lite's port, "publishableKey", "secretKey", "jwtSecret"}
import { createHmac } from "node:crypto";
import { Agent, createServer, request } from "node:http";

const { port, rest, auth, publishableKey, secretKey, jwtSecret } = JSON.parse(process.env.GATEWAY_SETTINGS);
const agent = new Agent({ keepAlive: true });
const tokens = { [publishableKey]: token("anon"), [secretKey]: token("service_role") };

createServer((incoming, outgoing) => {
  const { pathname, searchParams } = new URL(incoming.url, "http://gateway");
  if (pathname.startsWith("/auth/v1/")) return forward(incoming, outgoing, auth, incoming.url, incoming.headers);
  if (!pathname.startsWith("/rest/v1/")) return refuse(outgoing, 404, "no Route matched with those values");

  const key = incoming.headers.apikey ?? searchParams.get("apikey");
  if (!key) return refuse(outgoing, 401, "No API key found in request");
  if (!Object.hasOwn(tokens, key)) return refuse(outgoing, 401, "Invalid API key");

  // A person's own token wins over the key; clients without one repeat the key as a bearer.
  const bearer = incoming.headers.authorization?.replace(/^bearer /i, "");
  const authorization = `Bearer ${bearer && bearer !== key ? bearer : tokens[key]}`;
  forward(incoming, outgoing, rest, incoming.url.slice("/rest/v1".length), { ...incoming.headers, authorization });
}).listen(port, "127.0.0.1");

function forward(incoming, outgoing, toPort, path, headers) {
  const upstream = request({ agent, host: "127.0.0.1", port: toPort, path, method: incoming.method, headers });
  upstream.on("response", (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.on("error", () => outgoing.destroy()).pipe(outgoing);
  });
  upstream.on("error", () => (outgoing.headersSent ? outgoing.destroy() : refuse(outgoing, 502, "upstream failed")));
  outgoing.on("close", () => upstream.destroy());
  incoming.pipe(upstream);
}

function refuse(outgoing, status, message) {
  outgoing.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ message }));
}

/** A token for a key's role. It does not expire: it never leaves this machine. */
function token(role) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const content = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ role })}`;
  return `${content}.${createHmac("sha256", jwtSecret).update(content).digest("base64url")}`;
}
