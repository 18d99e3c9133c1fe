// Every page: looks (screenshots), accessibility (axe-core), and nothing that a page may not do.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fill } from "./directory.mjs";
import { axeFindings, closeBrowser, openWindow, scim, startServer } from "./support.mjs";

const shots = new URL("../.screenshots", import.meta.url).pathname;
/** Bytes of HTML, CSS and JavaScript of a page without its data. */
const WEIGHT_MAX = 60 * 1024;

let server;
let state;
let pages;

before(async () => {
  rmSync(shots, { recursive: true, force: true });
  mkdirSync(shots, { recursive: true });
  server = await startServer("--dev");
  const call = scim(server.origin, server.said["SCIM token"]);
  await fill(call);
  const { context, page } = await openWindow(server.origin);
  await page.goto(server.said.settings);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/settings");
  await server.rollcall("account", "create", "second@example.org", "--tenant", "dev");
  await server.rollcall("token", "create", "--tenant", "dev", "--api", "--name", "wiki");
  pages = await allPages(page);
  state = await context.storageState();
  await context.close();
});

after(async () => {
  await closeBrowser();
  await server?.stop();
});

/** The pages that the menu leads to, and one of each kind behind those. */
async function allPages(page) {
  const links = async () =>
    page.locator("a[href^='/']").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
  await page.goto(`${server.origin}/settings`);
  const menu = (await links()).filter((path) => /^\/(settings|docs)/.test(path));
  const found = new Map();
  for (const path of [...new Set(menu)]) {
    found.set(path.replace("/settings/", "").replace("/settings", "overview").replace("/docs", "guides"), path);
    await page.goto(server.origin + path);
    for (const inner of await links()) {
      const [, kind, rest] = inner.match(/^\/(?:settings\/)?(teams|people|log|docs)\/([^/?#]+)$/) ?? [];
      if (!kind || rest === "download") continue;
      const name = kind === "docs" ? `guide-${rest}` : `${kind}-one`;
      if (!found.has(name)) found.set(name, inner);
    }
  }
  found.set("teams-archived", "/settings/teams?show=archived");
  found.set("me", "/me");
  return found;
}

test("the pages behind the menu are found", () => {
  for (const name of ["overview", "teams-one", "people-one", "log-one", "guide-entra"]) {
    assert.ok(pages.has(name), `${name} of ${[...pages.keys()]}`);
  }
});

for (const dark of [false, true]) {
  for (const width of [1280, 360]) {
    test(`every page is accessible and keeps to itself, ${dark ? "dark" : "light"}, ${width} px`, async () => {
      const { context, page, faults } = await openWindow(server.origin, { dark, width, state });
      for (const [name, path] of pages) {
        await page.goto(server.origin + path);
        const file = `${name}-${dark ? "dark" : "light"}-${width}.png`;
        await page.screenshot({ path: join(shots, file), fullPage: true });
        faults.push(...(await axeFindings(page)).map((finding) => `${path}: ${finding}`));
        faults.push(...(await shapeFaults(page)).map((fault) => `${path}: ${fault}`));
      }
      await context.close();
      assert.equal(faults.join("\n"), "");
    });
  }
}

/** What forms lead to: each is done on a page of the menu and leaves the directory as it is, or nearly. */
const deeds = {
  "token-made": async (page) => {
    await page.goto(`${server.origin}/settings/provisioning`);
    await page.getByLabel("Label", { exact: true }).fill("second provider");
    await page.getByRole("button", { name: "Make token" }).click();
    await page.getByLabel("Secret Token").waitFor();
  },
  "role-preview": async (page) => {
    await page.goto(`${server.origin}/settings/roles`);
    await page.getByLabel("Value of roleName").fill("Boss");
    await page.getByRole("button", { name: "Preview value" }).click();
    await page.getByText(/would|gets|get another/).first().waitFor();
  },
  "undo-list": async (page) => {
    await page.goto(`${server.origin}/settings/undo`);
    await page.getByRole("button", { name: "List what would come back" }).click();
    await page.getByText("Old project").first().waitFor();
  },
  "log-dry-run": async (page) => {
    await page.goto(server.origin + pages.get("log-one"));
    await page.getByRole("button", { name: "Dry run" }).click();
    await page.getByText("Now").first().waitFor();
  },
  "sso-form": async (page) => {
    await page.goto(`${server.origin}/settings/sso`);
    await page.getByText("Set up Microsoft Azure").click();
    await page.getByLabel(/Directory \(tenant\) ID/).waitFor();
  },
  "account-link": async (page) => {
    await page.goto(`${server.origin}/settings/accounts`);
    await page.getByRole("button", { name: "Make a sign-in link for second@example.org" }).click();
    await page.getByText("This link signs in as").waitFor();
  },
  "not-here": async (page) => {
    await page.goto(`${server.origin}/settings/people/nobody`);
  },
  // The last: from then on the password is asked for.
  "confirm": async (page) => {
    await server.sql("UPDATE session SET authenticated = 0");
    await page.goto(`${server.origin}/settings/danger`);
    await page.getByRole("button", { name: "End all sessions but mine" }).click();
    await page.getByLabel("Password").waitFor();
    await server.sql(`UPDATE session SET authenticated = ${Date.now()}`);
  },
};

for (const dark of [false, true]) {
  test(`what forms lead to is accessible, too, ${dark ? "dark, 360 px" : "light, 1280 px"}`, async () => {
    const width = dark ? 360 : 1280;
    const { context, page, faults } = await openWindow(server.origin, { dark, width, state });
    for (const [name, lead] of Object.entries(deeds)) {
      await lead(page);
      const file = `${name}-${dark ? "dark" : "light"}-${width}.png`;
      await page.screenshot({ path: join(shots, file), fullPage: true });
      faults.push(...(await axeFindings(page)).map((finding) => `${name}: ${finding}`));
    }
    await context.close();
    // The browser itself notes a page of status 404.
    assert.equal(faults.filter((fault) => !/status of 404/.test(fault)).join("\n"), "");
  });
}

/** One h1, breadcrumbs, and nothing wider than the window. */
async function shapeFaults(page) {
  return page.evaluate(() => {
    const faults = [];
    if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
    if (location.pathname !== "/me" && !document.querySelector(".crumbs")) faults.push("no breadcrumbs");
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (wide > 0) faults.push(`${wide} px wider than the window`);
    return faults;
  });
}

test("pages for strangers are accessible, too", async () => {
  for (const dark of [false, true]) {
    for (const width of [1280, 360]) {
      const { context, page, faults } = await openWindow(server.origin, { dark, width });
      const link = await server.rollcall("account", "sign-in-link", "dev@localhost", "--public-url", server.origin);
      for (const [name, path] of [["sign-in", "/sign-in"], ["link", link.replace(server.origin, "")],
        ["link-late", "/sign-in/link/0"], ["setup-late", "/setup/0"], ["docs", "/docs"],
        ["docs-entra", "/docs/entra"], ["docs-keycloak", "/docs/keycloak"], ["docs-troubleshooting", "/docs/troubleshooting"]]) {
        await page.goto(server.origin + path);
        const file = `${name}-${dark ? "dark" : "light"}-${width}.png`;
        await page.screenshot({ path: join(shots, file), fullPage: true });
        faults.push(...(await axeFindings(page)).map((finding) => `${path}: ${finding}`));
      }
      await context.close();
      // The browser itself notes a page of status 410.
      assert.equal(faults.filter((fault) => !/status of 410/.test(fault)).join("\n"), "");
    }
  }
});

test("a guide's code is copied by a button, and everything is read without JavaScript", async () => {
  for (const javaScript of [true, false]) {
    const { context, page, faults } = await openWindow(server.origin, { javaScript });
    await page.goto(`${server.origin}/docs/entra`);
    const copy = page.locator(".code").first();
    const text = (await copy.locator("pre").textContent()).trim();
    assert.equal(text, "https://rollcall.example.org/scim/v2");
    const button = copy.getByRole("button", { name: "Copy" });
    assert.equal(await button.isVisible(), javaScript);
    if (javaScript) {
      await button.click();
      await copy.getByText("Copied").waitFor();
      assert.equal((await page.evaluate(() => navigator.clipboard.readText())).trim(), text);
    }
    await context.close();
    assert.equal(faults.join("\n"), "");
  }
});

test("the heaviest page weighs less than 60 KB without its data", async (t) => {
  // Another server, so that there is no data.
  const bare = await startServer("--dev");
  const { context, page } = await openWindow(bare.origin);
  await page.goto(bare.said.settings);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/settings");
  const bytes = async (path) => Number((await context.request.get(bare.origin + path)).headers()["content-length"]);
  const shared = (await bytes("/static/style.css")) + (await bytes("/static/rollcall.js"));
  let heaviest = ["", 0];
  for (const path of pages.values()) {
    if (/(teams|people|log)\/./.test(path)) continue;
    const weight = shared + (await bytes(path));
    if (weight > heaviest[1]) heaviest = [path, weight];
  }
  await context.close();
  await bare.stop();
  t.diagnostic(`CSS and JavaScript ${shared} bytes; heaviest page ${heaviest[0]}, ${heaviest[1]} bytes with them`);
  assert.ok(heaviest[1] < WEIGHT_MAX, `${heaviest}`);
});
