// Single sign-on against a provider that others wrote, in Chromium: connect, sign in, change, be shut out.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { axeFindings, closeBrowser, openWindow, scim, startServer } from "./support.mjs";
import { CLIENT, signInThere, startProvider } from "./provider.mjs";

const shots = new URL("../.screenshots/", import.meta.url).pathname;
let server, provider, call;

before(async () => {
  server = await startServer("--dev");
  provider = await startProvider(`${server.origin}/sso/callback`);
  call = scim(server.origin, server.said["SCIM token"]);
});

after(async () => {
  await closeBrowser();
  await provider?.stop();
  await server?.stop();
});

/** A window, and what its policy forbade. */
async function visitor(path) {
  const { context, page, faults } = await openWindow(server.origin, {});
  await page.goto(`${server.origin}${path}`);
  return {
    context, page,
    shot: (name) => page.screenshot({ path: `${shots}sign-on-${name}.png`, fullPage: true }),
    forbidden: () => faults.filter((fault) => fault.includes("Content Security Policy")),
  };
}

async function create(userName, more = {}) {
  const answer = await call("POST", "/Users", {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], userName, displayName: userName, ...more,
  });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.id;
}

const patch = (id, value) => call("PATCH", `/Users/${id}`, {
  schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations: [{ op: "replace", value }],
});

const kinds = async () => {
  const events = await server.rollcall("events", "--tenant", "dev", "-o", "json");
  return events.split("\n").map((line) => JSON.parse(line).kind);
};

test("an administrator connects the provider by signing in there", async () => {
  const { page, context, shot, forbidden } = await visitor(new URL(server.said.settings).pathname);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.goto(`${server.origin}/settings/sso?provider=oidc`);
  await page.getByLabel("Name", { exact: true }).fill("Example ID");
  await page.getByLabel("Issuer URL").fill(provider.issuer);
  await page.getByLabel("Client ID").fill(CLIENT.id);
  await page.getByLabel("Client secret").fill(CLIENT.secret);
  await shot("1-form");
  await page.getByRole("button", { name: "Save OpenID Connect" }).click();
  await page.getByText("Set up, not connected yet").waitFor();
  assert.deepEqual(await axeFindings(page), []);
  await shot("2-saved");
  // Nobody signs in before.
  const early = await fetch(`${server.origin}/sso/start/dev`, { redirect: "manual" });
  assert.equal(early.status, 404);
  await page.getByRole("link", { name: "Connect OpenID Connect" }).click();
  await signInThere(page, "boss");
  await page.getByText("Example ID Single Sign-On was successfully connected.").waitFor();
  await shot("3-connected");
  assert.deepEqual(await axeFindings(page), []);
  await page.getByRole("link", { name: "Test OpenID Connect" }).click();
  await page.getByText("Signing in works: you came back as boss@example.org.").waitFor();
  await page.goto(`${server.origin}/settings`);
  await page.getByText("connected", { exact: true }).waitFor();
  assert.deepEqual(forbidden(), []);
  // The pretend provider at the start, and this one once.
  assert.equal((await kinds()).filter((kind) => kind === "connection.connected").length, 2);
  await context.close();
});

test("a person signs in, has another role at the next request, and is shut out at the next", async () => {
  const id = await create("ana@example.org", { externalId: "ana", roleName: "Member" });
  const { page, context, shot, forbidden } = await visitor("/sign-in?next=/me");
  await shot("4-sign-in");
  assert.deepEqual(await axeFindings(page), []);
  const fixed = (await context.cookies()).find(({ name }) => name === "rollcall").value;
  await page.getByRole("link", { name: "Continue with Example ID" }).click();
  await signInThere(page, "ana");
  await page.waitForURL(`${server.origin}/me`);
  await page.getByText("ana@example.org").waitFor();
  await shot("5-me");
  assert.notEqual((await context.cookies()).find(({ name }) => name === "rollcall").value, fixed);
  const status = async () => (await page.goto(`${server.origin}/settings`)).status();
  assert.equal(await status(), 403);
  assert.equal((await patch(id, { roleName: "Admin" })).status, 200);
  assert.equal(await status(), 200);
  assert.equal((await patch(id, { active: false })).status, 200);
  await page.goto(`${server.origin}/settings`);
  assert.match(page.url(), /\/sign-in/);
  await page.getByRole("link", { name: "Continue with Example ID" }).click();
  await page.getByText("Your user is deactivated.").waitFor();
  await shot("6-deactivated");
  assert.equal((await patch(id, { active: true })).status, 200);
  await page.goto(`${server.origin}/sso/start/dev`);
  await page.waitForURL(`${server.origin}/settings`);
  await page.goto(`${server.origin}/me`);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByRole("heading", { name: "You are signed out" }).waitFor();
  assert.deepEqual(await axeFindings(page), []);
  await shot("8-signed-out");
  await page.getByRole("link", { name: "Sign out of Example ID, too" }).click();
  await page.getByRole("button", { name: "Yes, sign me out" }).click();
  await page.waitForURL(`${server.origin}/sign-in`);
  await page.goto(`${server.origin}/sso/start/dev`);
  await signInThere(page, "ana");
  await page.waitForURL(`${server.origin}/settings`);
  // And the provider signs out here.
  await page.goto(`${provider.issuer}/session/end`);
  await page.getByRole("button", { name: "Yes, sign me out" }).click();
  await page.getByText("Sign-out Success").waitFor();
  await page.goto(`${server.origin}/me`);
  assert.match(page.url(), /\/sign-in/);
  assert.deepEqual(forbidden(), []);
  await context.close();
  const all = await kinds();
  for (const kind of ["identity.linked", "user.signed_in", "sign_in.refused", "user.signed_out"]) assert.ok(all.includes(kind), kind);
});

test("who isn't provisioned is told so, and created only where that is wanted", async () => {
  const { page, context, shot } = await visitor("/sso/start/dev");
  await signInThere(page, "eve");
  await page.getByText("You are not provisioned yet").waitFor();
  await shot("7-not-provisioned");
  assert.deepEqual(await axeFindings(page), []);
  const admin = await visitor(new URL(await server.rollcall("account", "sign-in-link", "dev@localhost")).pathname);
  await admin.page.getByRole("button", { name: "Sign in" }).click();
  await admin.page.goto(`${server.origin}/settings/sso`);
  await admin.page.getByLabel("E-mail domains").fill("example.org");
  await admin.page.getByLabel("Create who is not provisioned").check();
  await admin.page.getByRole("button", { name: "Save who may sign in" }).click();
  await admin.page.getByText("Saved: who may sign in.").waitFor();
  await page.goto(`${server.origin}/sso/start/dev`);
  await page.waitForURL(`${server.origin}/me`);
  const found = await call("GET", `/Users?filter=${encodeURIComponent('userName eq "eve@example.org"')}`);
  assert.equal(found.body.Resources[0].externalId, "eve");
  await admin.context.close();
  await context.close();
});

test("the operator's application is agreed to at Microsoft, and a refusal there is told", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "rollcall-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "secret"), "not a real secret\n");
  const id = "2a6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
  const own = await startServer("--dev", "--entra-client-id", id, "--entra-client-secret-file", join(folder, "secret"));
  t.after(() => own.stop());
  const { context, page, faults } = await openWindow(own.origin, {});
  // Microsoft is played: it says no.
  await context.route("https://login.microsoftonline.com/**", (route) => {
    const asked = new URL(route.request().url());
    assert.equal(asked.pathname, "/organizations/v2.0/adminconsent");
    const back = new URL(asked.searchParams.get("redirect_uri"));
    const said = { admin_consent: "True", error: "consent_required", error_description: "AADSTS65004: declined" };
    for (const [name, value] of Object.entries({ ...said, state: asked.searchParams.get("state") })) back.searchParams.set(name, value);
    return route.fulfill({ contentType: "text/html", body: `<a href="${back.href.replaceAll("&", "&amp;")}">Cancel</a>` });
  });
  await page.goto(own.said.settings);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.goto(`${own.origin}/settings/sso`);
  await page.screenshot({ path: `${shots}sign-on-9-operators-application.png`, fullPage: true });
  assert.deepEqual(await axeFindings(page), []);
  await page.getByRole("link", { name: "Connect Microsoft Azure" }).click();
  await page.getByRole("link", { name: "Cancel" }).click();
  await page.getByText("Not connected. You did not agree to the permissions.").waitFor();
  await page.screenshot({ path: `${shots}sign-on-10-not-agreed.png`, fullPage: true });
  assert.deepEqual(faults.filter((fault) => fault.includes("Content Security Policy")), []);
  await context.close();
});
