// Forward auth behind a real nginx, with the configuration that the settings show, in front of a small app.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { connect } from "node:net";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { closeBrowser, openWindow, scim, startServer } from "./support.mjs";
import { CLIENT, signInThere, startProvider } from "./provider.mjs";

const folder = mkdtempSync(join(tmpdir(), "nginx-"));
let server, provider, nginx, app, host;

/** A port that nobody listens at. */
async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

async function startNginx(port, recipe) {
  writeFileSync(join(folder, "nginx.conf"), `daemon off; pid ${folder}/pid; error_log stderr warn;
    events {}
    http { access_log off; client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
      uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
      server { listen 127.0.0.1:${port}; ${recipe} } }`);
  nginx = spawn(process.env.NGINX ?? "/usr/sbin/nginx", ["-p", folder, "-e", "stderr", "-c", join(folder, "nginx.conf")],
    { stdio: ["ignore", "inherit", "inherit"] });
  for (let tries = 0; tries < 100; tries += 1) {
    const socket = connect(port, "127.0.0.1");
    const open = await once(socket, "connect").then(() => true, () => false);
    socket.destroy();
    if (open) return;
    await pause(50);
  }
  assert.fail("nginx does not listen");
}

before(async () => {
  const [own, port] = [await freePort(), await freePort()];
  host = `app.localhost:${port}`;
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
  await page.getByLabel("Host", { exact: true }).fill(host);
  await page.getByLabel("At least the role").selectOption("Team lead");
  await page.getByRole("button", { name: "Save who may open it" }).click();
  await page.getByText("Saved: who may open it.").waitFor();
  await page.screenshot({ path: new URL("../.screenshots/sign-on-9-hosts.png", import.meta.url).pathname, fullPage: true });
  const recipe = await page.locator("pre").first().innerText();
  await context.close();
  await startNginx(port, recipe.replace("http://app;", `http://127.0.0.1:${app.address().port};`));
});

after(async () => {
  await closeBrowser();
  if (nginx) {
    nginx.kill("SIGTERM");
    await once(nginx, "exit");
  }
  app?.closeAllConnections();
  app?.close();
  await provider?.stop();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

test("a person signs in on the way to an app, which learns who it is, until they may no longer", async () => {
  const call = scim(server.origin, server.said["SCIM token"]);
  const { body } = await call("POST", "/Users", {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], userName: "ana@example.org", externalId: "ana", roleName: "Team lead",
  });
  await call("POST", "/Groups", {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:Group"], displayName: "SRE", members: [{ value: body.id }],
  });
  const patch = (value) => call("PATCH", `/Users/${body.id}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations: [{ op: "replace", value }],
  });
  const { page } = await openWindow(server.origin, {});
  await page.setExtraHTTPHeaders({ "Remote-User": "root", "Remote-Email": "root@x", "Remote-Role": "Admin" });
  await page.goto(`http://${host}/page?a=b&c=d`);
  await page.getByRole("link", { name: "Continue with Example ID" }).click();
  await signInThere(page, "ana");
  await page.waitForURL(`http://${host}/page?a=b&c=d`);
  assert.equal(await page.locator("body").innerText(), "/page?a=b&c=d for ana@example.org  in SRE as Team lead");
  const status = async () => (await page.goto(`http://${host}/`)).status();
  assert.equal(await status(), 200);
  await patch({ roleName: "Member" });
  assert.equal(await status(), 403);
  await patch({ roleName: "Admin" });
  assert.equal(await status(), 200);
  await patch({ active: false });
  await page.goto(`http://${host}/`);
  assert.match(page.url(), /\/sign-in\?next=/);
});
