// The server under test: its address and key come from the environment.
import http from "node:http";

export const base = required("SCIM_URL"); // http://127.0.0.1:1234/scim/v2
export const key = required("SCIM_KEY");

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; see ../run`);
  return value;
}

/** send makes a request without any client library and returns { status, headers, body }. */
export async function send(method, path, body, headers = {}) {
  const response = await fetch(base + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { "content-type": "application/scim+json" }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined };
}

/** want is send, and an error where the status is another. */
export async function want(status, method, path, body, headers) {
  const answer = await send(method, path, body, headers);
  if (answer.status !== status) {
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}, want ${status}`);
  }
  return answer.body;
}

export const query = (path, parameters) => `${path}?${new URLSearchParams(parameters)}`;

/**
 * behind starts a reverse proxy for clients that insist on another path than /scim/v2: it puts our address in the
 * place of the prefix, and touches nothing else. The last of what went through it is in exchanges.
 */
export async function behind(prefix) {
  const exchanges = [];
  const server = http.createServer((request, response) => {
    if (!request.url.startsWith(prefix)) {
      response.writeHead(404).end();
      return;
    }
    const target = new URL(base + request.url.slice(prefix.length));
    const { host: _, ...headers } = request.headers;
    const onward = http.request(target, { method: request.method, headers }, (answer) => {
      exchanges.push({ method: request.method, path: target.pathname + target.search, status: answer.statusCode });
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", (error) => response.destroy(error));
    request.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    exchanges,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
