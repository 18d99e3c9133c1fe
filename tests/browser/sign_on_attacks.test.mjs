// What must not get anybody in: answers that are replayed, swapped or another's, and providers that lie.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { closeBrowser, openWindow, scim, startServer } from "./support.mjs";
import { CLIENT, signInThere, startProvider } from "./provider.mjs";

let server, provider, call, admin;

before(async () => {
  server = await startServer("--dev");
  provider = await startProvider(`${server.origin}/sso/callback`);
  call = scim(server.origin, server.said["SCIM token"]);
  ({ page: admin } = await openWindow(server.origin, {}));
  await admin.goto(server.said.settings);
  await admin.getByRole("button", { name: "Sign in" }).click();
  await save("Example ID", provider.issuer);
  await admin.goto(`${server.origin}/settings/sso/connect`);
  await signInThere(admin, "boss");
  await admin.getByText("successfully connected").waitFor();
});

after(async () => {
  await closeBrowser();
  await provider?.stop();
  await server?.stop();
});

async function save(name, issuer) {
  await admin.goto(`${server.origin}/settings/sso?provider=oidc`);
  await admin.getByLabel("Name", { exact: true }).fill(name);
  await admin.getByLabel("Issuer URL").fill(issuer);
  await admin.getByLabel("Client ID").fill(CLIENT.id);
  await admin.getByLabel("Client secret").fill(CLIENT.secret);
  await admin.getByRole("button", { name: "Save OpenID Connect" }).click();
  await admin.getByText("Saved. Now connect it").waitFor();
}

async function create(name, more = {}) {
  const answer = await call("POST", "/Users", {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], userName: `${name}@example.org`, externalId: name, ...more,
  });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.id;
}

/** A browser of somebody who is signed in at the provider, and who can stop on the way back. */
async function person(name) {
  const { context, page } = await openWindow(server.origin, {});
  await page.goto(`${server.origin}/sso/start/dev`);
  await signInThere(page, name);
  await page.waitForURL(`${server.origin}/**`);
  const { request } = context;
  const hop = async (url) => (await request.get(url, { maxRedirects: 0 })).headers().location;
  return {
    page,
    /** The answer of the provider, unopened. */
    answer: async (query = "") => new URL(await hop(await hop(`${server.origin}/sso/start/dev${query}`))),
    open: async (url) => {
      const answer = await request.get(url.href ?? url, { maxRedirects: 0 });
      return { status: answer.status(), text: await answer.text(), to: answer.headers().location };
    },
  };
}

const changed = (url, values) => {
  const other = new URL(url);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) other.searchParams.delete(name);
    else other.searchParams.set(name, value);
  }
  return other;
};

test("an answer works once, and for the browser that was sent away alone", async () => {
  await create("ana");
  const ana = await person("ana");
  const answer = await ana.answer();
  const elsewhere = await fetch(answer, { redirect: "manual" });
  assert.equal(elsewhere.status, 400);
  assert.match(await elsewhere.text(), /begun in another browser/);
  const other = await person("boss");
  assert.equal((await other.open(answer)).status, 400, "also to somebody with a cookie of ours");
  assert.deepEqual([(await ana.open(answer)).status], [303]);
  assert.equal((await ana.open(answer)).status, 400, "twice");
  assert.equal((await ana.open(changed(answer, { state: undefined }))).status, 400);
  assert.equal((await ana.open(changed(answer, { state: "" }))).status, 400);
});

test("codes can't be replayed or swapped, nor answers come from elsewhere", async () => {
  const ana = await person("ana");
  const used = await ana.answer();
  assert.equal((await ana.open(used)).status, 303);
  const code = used.searchParams.get("code");
  const refused = async (url, words) => {
    const { status, text } = await ana.open(url);
    assert.equal(status, 403, text);
    assert.match(text, words);
  };
  await refused(changed(await ana.answer(), { code }), /expired or was used already/);
  const [one, two] = [await ana.answer(), await ana.answer()];
  await refused(changed(one, { code: two.searchParams.get("code") }), /expired or was used already/);
  await refused(changed(await ana.answer(), { code: undefined }), /.../);
  await refused(changed(await ana.answer(), { iss: "https://evil.example" }), /another provider/);
  await refused(changed(await ana.answer(), { iss: undefined }), /another provider/);
  const markup = { error: "access_denied", error_description: "<script>AADSTS65004" };
  const { text } = await ana.open(changed(await ana.answer(), markup));
  assert.match(text, /You did not agree to the permissions/);
  assert.doesNotMatch(text, /<script>A/);
});

test("a sign-in leads to our own pages alone", async () => {
  const ana = await person("ana");
  for (const next of ["//evil.example", "/\\evil.example", "https://evil.example", "%2F%2Fevil.example", "/me@evil.example"]) {
    const answer = await ana.answer(`?next=${encodeURIComponent(next)}`);
    assert.equal((await ana.open(answer)).to, "/me", next);
  }
  assert.equal((await ana.open(await ana.answer("?next=/me"))).to, "/me");
});

test("who is deactivated or deleted on the way does not get in", async () => {
  const id = await create("bob");
  const bob = await person("bob");
  const first = await bob.answer();
  await call("PATCH", `/Users/${id}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations: [{ op: "replace", value: { active: false } }],
  });
  assert.match((await bob.open(first)).text, /deactivated/);
  const later = await bob.answer();
  await call("DELETE", `/Users/${id}`);
  assert.match((await bob.open(later)).text, /Your user was removed/);
  assert.equal((await bob.page.goto(`${server.origin}/me`)).url().includes("/sign-in"), true);
});

test("an e-mail address makes nobody somebody else", async () => {
  const id = await create("victim", { emails: [{ value: "victim@example.org", type: "work" }] });
  const mallory = await person("mallory=victim@example.org");
  await mallory.page.getByText("You are not provisioned yet").waitFor();
  // Nor does a name that is linked, even where names are taken.
  await admin.goto(`${server.origin}/settings/sso`);
  await admin.getByLabel("Take a provisioned user").check();
  await admin.getByRole("button", { name: "Save who may sign in" }).click();
  const victim = await person("victim");
  await victim.page.getByText("victim@example.org").waitFor();
  const other = await person("victim=x@example.org");
  await other.page.getByText("There is a user with your name").waitFor();
  const found = await call("GET", `/Users/${id}`);
  assert.equal(found.body.externalId, "victim");
});

test("a provider that lies is not believed, and the reason is told", async (t) => {
  let answer;
  const liar = createServer((request, response) => answer(request, response));
  t.after(() => liar.closeAllConnections() ?? liar.close());
  liar.listen(0, "localhost");
  await once(liar, "listening");
  const issuer = `http://localhost:${liar.address().port}`;
  const json = (body) => (_, response) => {
    response.setHeader("Content-Type", "application/json");
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  };
  const good = { issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t`, jwks_uri: `${issuer}/k` };
  const redirect = (_, response) => response.writeHead(302, { Location: `${provider.issuer}/.well-known/openid-configuration` }).end();
  await save("Liar", issuer);
  for (const [lie, words] of [
    [redirect, /it redirects where it should answer/],
    [(_, response) => response.end("<html>"), /no JSON/],
    [json("{"), /not JSON/],
    [json(`"${"x".repeat(10_000_000)}"`), /too long/],
    [json({ ...good, issuer: `${issuer}/` }), /it calls itself/],
    [json({ ...good, token_endpoint: "http://example.org/t" }), /not https/],
    [json({ ...good, authorization_endpoint: "javascript:alert(1)" }), /not https/],
    [json(good), /its keys are no key set/],
    [(request) => request.socket.destroy(), /can’t be reached/],
    [() => {}, /can’t be reached/],
  ]) {
    answer = lie;
    await admin.goto(`${server.origin}/settings/sso/connect`);
    assert.match(await admin.locator(".flash").innerText(), words, `${lie}`);
  }
  liar.closeAllConnections();
  liar.close();
  await admin.goto(`${server.origin}/settings/sso/connect`);
  assert.match(await admin.locator(".flash").innerText(), /can’t be reached/);
});
