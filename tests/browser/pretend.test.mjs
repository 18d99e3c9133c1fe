// The pretend provider of `serve --dev`, in Chromium: the page to pick from, signing in, being refused, signing out.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { axeFindings, closeBrowser, openWindow, scim, startServer } from "./support.mjs";

const shots = new URL("../.screenshots/", import.meta.url).pathname;
let server;

before(async () => {
  server = await startServer("--dev");
  const call = scim(server.origin, server.said["SCIM token"]);
  const schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"];
  for (const [name, more] of [["Ana Silva", { externalId: "ana" }], ["Bo Chen", {}], ["Eve Adams", { externalId: "eve", active: false }]]) {
    const userName = `${name.split(" ")[0].toLowerCase()}@example.org`;
    const { status } = await call("POST", "/Users", { schemas, userName, displayName: name, ...more });
    assert.equal(status, 201);
  }
});

after(async () => {
  await closeBrowser();
  await server?.stop();
});

test("a developer picks who signs in, and sees who is let in, refused and signed out", async () => {
  const { page, faults } = await openWindow(server.origin, {});
  await page.goto(server.said["sign-in"]);
  await page.getByRole("heading", { name: "Who signs in?" }).waitFor();
  const provider = new URL(page.url()).origin;
  assert.notEqual(provider, server.origin);
  assert.deepEqual(await axeFindings(page), []);
  await page.screenshot({ path: `${shots}pretend-1-pick.png`, fullPage: true });
  await page.getByRole("link", { name: "Eve Adams" }).click();
  await page.getByText("Your user is deactivated.").waitFor();
  await page.goto(server.said["sign-in"]);
  await page.getByRole("link", { name: "Igor Impostor" }).click();
  await page.getByText("You are not provisioned yet").waitFor();
  await page.goto(server.said["sign-in"]);
  await page.getByText("Signed in here as ana@example.org").waitFor();
  await page.getByRole("link", { name: "Ana Silva" }).click();
  await page.waitForURL(`${server.origin}/me`);
  await page.getByText("Ana Silva").waitFor();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByRole("link", { name: "Sign out of Pretend provider, too" }).click();
  await page.waitForURL(`${server.origin}/sign-in`);
  await page.getByRole("link", { name: "Continue with Pretend provider" }).click();
  await page.getByRole("heading", { name: "Who signs in?" }).waitFor();
  assert.equal(await page.getByText("Signed in here as").count(), 0);
  assert.deepEqual(faults.filter((fault) => !fault.includes(`asks ${provider}/`) && !fault.includes("403")), []);
});

test("the page fits a small dark screen", async () => {
  const { page } = await openWindow(server.origin, { dark: true, width: 360 });
  await page.goto(server.said["sign-in"]);
  assert.deepEqual(await axeFindings(page), []);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false, "it scrolls sideways");
  await page.screenshot({ path: `${shots}pretend-2-small.png`, fullPage: true });
});
