// Forward auth behind a real nginx and a real Caddy, with the configuration that the settings show, in front of a small app.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { closeBrowser, openWindow, scim, startServer } from "./support.mjs";
import { CLIENT, signInThere, startProvider } from "./provider.mjs";

const folder = mkdtempSync(join(tmpdir(), "proxy-"));
let server, provider, app;
/** Name of each proxy and the host that it serves. */
const hosts = {};
const proxies = [];

/** A port that nobody listens at. */
async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

/** What a client gets that isn't signed in, under a name that only a browser finds. */
async function ask(host, headers) {
  const asked = request({ host: "127.0.0.1", port: host.split(":")[1], headers: { host, ...headers } }).end();
  const [answer] = await once(asked, "response");
  answer.resume();
  return { status: answer.statusCode, location: answer.headers.location };
}

/** Starts a proxy, and waits until it listens. */
async function startProxy(port, command, ...words) {
  const proxy = spawn(command, words, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, HOME: folder } });
  proxies.push(proxy);
  for (let tries = 0; tries < 100; tries += 1) {
    const socket = connect(port, "127.0.0.1");
    const open = await once(socket, "connect").then(() => true, () => false);
    socket.destroy();
    if (open) return;
    await pause(50);
  }
  assert.fail(`${command} does not listen`);
}

async function startNginx(port, recipe) {
  const file = join(folder, "nginx.conf");
  writeFileSync(file, `daemon off; pid ${folder}/pid; error_log stderr warn;
    events {}
    http { access_log off; client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
      uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
      server { listen 127.0.0.1:${port}; ${recipe} } }`);
  await startProxy(port, process.env.NGINX ?? "/usr/sbin/nginx", "-p", folder, "-e", "stderr", "-c", file);
}

async function startCaddy(port, recipe) {
  const file = join(folder, "Caddyfile");
  // By plain HTTP, since nobody gives a certificate for a name of this machine.
  writeFileSync(file, `{
    admin off
    auto_https off
    log {
      level ERROR
    }
  }
  ${recipe.replace("wiki.example.org", `http://${hosts.Caddy}`)}`);
  await startProxy(port, process.env.CADDY ?? "/usr/bin/caddy", "run", "--config", file, "--adapter", "caddyfile");
}

before(async () => {
  const [own, forNginx, forCaddy] = [await freePort(), await freePort(), await freePort()];
  hosts.nginx = `app.localhost:${forNginx}`;
  hosts.Caddy = `other.localhost:${forCaddy}`;
  server = await startServer("--dev", "--listen", `127.0.0.1:${own}`, "--public-url", `http://127.0.0.1:${own}`,
    "--trusted-proxy", "127.0.0.1");
  provider = await startProvider(`${server.origin}/sso/callback`);
  app = createServer(({ url, headers }, response) => {
    response.setHeader("Content-Type", "text/plain");
    response.end(`${url} for ${headers["remote-user"]} ${headers["remote-email"] ?? ""} in ${headers["remote-groups"]} as ${headers["remote-role"]}`);
  }).listen(0, "127.0.0.1");
  await once(app, "listening");
  const { page, context } = await openWindow(server.origin, {});
  await page.goto(server.said.settings);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.goto(`${server.origin}/settings/sso?provider=oidc`);
  await page.getByLabel("Name", { exact: true }).fill("Example ID");
  await page.getByLabel("Issuer URL").fill(provider.issuer);
  await page.getByLabel("Client ID").fill(CLIENT.id);
  await page.getByLabel("Client secret").fill(CLIENT.secret);
  await page.getByRole("button", { name: "Save OpenID Connect" }).click();
  await page.getByRole("link", { name: "Connect OpenID Connect" }).click();
  await signInThere(page, "boss");
  await page.getByText("successfully connected").waitFor();
  await page.goto(`${server.origin}/settings/hosts`);
  for (const host of Object.values(hosts)) {
    await page.getByLabel("Host", { exact: true }).fill(host);
    await page.getByLabel("At least the role").selectOption("Team lead");
    await page.getByRole("button", { name: "Save who may open it" }).click();
    await page.getByText("Saved: who may open it.").waitFor();
  }
  await page.screenshot({ path: new URL("../.screenshots/sign-on-9-hosts.png", import.meta.url).pathname, fullPage: true });
  const recipe = (name) => page.getByRole("heading", { name }).locator("xpath=following-sibling::pre[1]").innerText();
  const appAddress = `127.0.0.1:${app.address().port}`;
  await startNginx(forNginx, (await recipe("nginx")).replace("http://app;", `http://${appAddress};`));
  await startCaddy(forCaddy, (await recipe("Caddy")).replace("app:8080", appAddress));
  await context.close();
});

after(async () => {
  await closeBrowser();
  for (const proxy of proxies) {
    proxy.kill("SIGTERM");
    if (proxy.exitCode === null) await once(proxy, "exit");
  }
  app?.closeAllConnections();
  app?.close();
  await provider?.stop();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

for (const name of ["nginx", "Caddy"]) test(`behind ${name}, a person signs in on the way to an app, which learns who it is, until they may no longer`, async () => {
  const [host, person] = [hosts[name], name.toLowerCase()];
  const call = scim(server.origin, server.said["SCIM token"]);
  const { body } = await call("POST", "/Users", {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], userName: `${person}@example.org`, externalId: person, roleName: "Team lead",
  });
  await call("POST", "/Groups", {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:Group"], displayName: `SRE ${name}`, members: [{ value: body.id }],
  });
  const patch = (value) => call("PATCH", `/Users/${body.id}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations: [{ op: "replace", value }],
  });
  const { page } = await openWindow(server.origin, {});
  await page.setExtraHTTPHeaders({ "Remote-User": "root", "Remote-Email": "root@x", "Remote-Role": "Admin" });
  await page.goto(`http://${host}/page?a=b&c=d`);
  await page.getByRole("link", { name: "Continue with Example ID" }).click();
  await signInThere(page, person);
  await page.waitForURL(`http://${host}/page?a=b&c=d`);
  assert.equal(await page.locator("body").innerText(), `/page?a=b&c=d for ${person}@example.org  in SRE ${name} as Team lead`);
  const status = async () => (await page.goto(`http://${host}/`)).status();
  assert.equal(await status(), 200);
  await patch({ roleName: "Member" });
  assert.equal(await status(), 403);
  await patch({ roleName: "Admin" });
  assert.equal(await status(), 200);
  // A client that says it came for another host, or that it is somebody, gains nothing.
  const other = Object.values(hosts).find((known) => known !== host);
  const lied = await ask(host, { "X-Forwarded-Host": other, "X-Forwarded-Proto": "https", "Remote-User": "root", accept: "text/html" });
  assert.deepEqual([lied.status, new URL(lied.location, `http://${host}`).origin], [302, `http://${host}`]);
  await patch({ active: false });
  await page.goto(`http://${host}/`);
  assert.match(page.url(), /\/sign-in\?next=/);
});

test("a host that is named in no settings is closed, whoever asks", async () => {
  const port = await freePort();
  const name = hosts.Caddy;
  hosts.Caddy = `stranger.localhost:${port}`;
  const { page } = await openWindow(server.origin, {});
  await startCaddy(port, `wiki.example.org {
    forward_auth ${server.origin} {
      uri /auth/forward
    }
    reverse_proxy 127.0.0.1:${app.address().port}
  }`);
  const answer = await page.goto(`http://${hosts.Caddy}/`);
  hosts.Caddy = name;
  assert.equal(answer.status(), 403);
  assert.match(await page.locator("body").innerText(), /Nobody is let in to this host/);
});
