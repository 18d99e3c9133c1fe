// The first five minutes, as a person has them: set-up link, account, provisioning, a real SCIM client (scim2-cli), a team
// that comes, goes and comes back. With a mouse, without JavaScript, and by keyboard alone.

import { after, test } from "node:test";
import assert from "node:assert/strict";
import { closeBrowser, openWindow, scimCli, startServer, tabTo } from "./support.mjs";

const PASSWORD = "four unrelated words";

/** How a person does things: `fill` a field, `press` a button, `follow` a link, each by its name. */
const byMouse = (page) => ({
  fill: (label, text) => page.getByLabel(label, { exact: true }).fill(text),
  press: (name) => page.getByRole("button", { name }).first().click(),
  follow: (name) => page.getByRole("link", { name, exact: true }).first().click(),
});

const byKeyboard = (page) => ({
  fill: async (label, text) => {
    await tabTo(page, new RegExp(`\\|${label}\\|`));
    await page.keyboard.type(text);
  },
  press: async (name) => {
    await tabTo(page, new RegExp(name.source ?? name));
    await page.keyboard.press("Enter");
  },
  follow: async (name) => {
    await tabTo(page, new RegExp(`\\|${name}\\|`));
    await page.keyboard.press("Enter");
  },
});

after(closeBrowser);

for (const [name, hands, options] of [
  ["with a mouse", byMouse, {}],
  ["without JavaScript", byMouse, { javaScript: false }],
  ["by keyboard alone", byKeyboard, {}],
]) {
  test(`from the set-up link to a team that comes back, ${name}`, async (t) => {
    const server = await startServer();
    const { context, page, faults } = await openWindow(server.origin, options);
    const person = hands(page);
    t.after(async () => {
      await context.close();
      await server.stop();
    });
    const heading = (text) => page.getByRole("heading", { level: 1, name: text }).waitFor();

    await page.goto(server.said["set up"].split(" ")[0]);
    await person.fill("Organisation", "Contoso");
    await person.fill("E-mail address", "ana@contoso.example");
    await person.fill("Password", PASSWORD);
    await person.press("Set up");
    await heading("Overview");
    await page.getByText("rollcall is set up").waitFor();

    await person.follow("Provisioning");
    await heading("Provisioning");
    await person.press(/Enable provisioning/);
    const tenantUrl = await page.getByLabel("Tenant URL").inputValue();
    const token = await page.getByLabel("Secret Token").inputValue();
    assert.equal(tenantUrl, `${server.origin}/scim/v2`);
    assert.match(token, /^rcs_[0-9a-f]{64}$/);
    if (options.javaScript !== false) {
      const copy = page.locator(".copy", { has: page.locator("#secret-token") });
      await copy.getByRole("button", { name: "Copy" }).click();
      await copy.getByText("Copied").waitFor();
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), token);
    }
    const met = page.locator("#checklist li.met");
    assert.equal(await met.count(), 1, "the token is made");

    // The provider's part. With JavaScript the checklist turns while one looks; without, one looks again.
    const look = async (count) => {
      if (options.javaScript === false) await person.follow("Look again");
      await assertSoon(async () => (await met.count()) === count, `${count} steps are met`);
    };
    const push = (...words) => scimCli(server.origin, token, ...words);
    await push("query", "user", "--filter", 'userName eq "0b9f-no-such-user"').catch(() => {});
    await look(2);
    const user = JSON.parse(await push("create", "user", "--user-name", "bob@contoso.example", "--display-name", "Bob",
      "--role-name", "Team lead"));
    const group = JSON.parse(await push("create", "group", "--display-name", "Site reliability",
      "--members", JSON.stringify([{ value: user.id }])));
    await assertSoon(async () => {
      if (options.javaScript === false) await page.goto(`${server.origin}/settings/provisioning`);
      return (await met.count()) === 5;
    }, "all five steps are met");

    await page.goto(`${server.origin}/settings`);
    await person.follow("Teams");
    await heading("Teams");
    await person.follow("Site reliability");
    await heading("Site reliability");
    await page.getByText("Bob").first().waitFor();

    await push("delete", "group", group.id);
    await page.goto(`${server.origin}/settings`);
    await person.follow("Teams");
    await heading("Teams");
    assert.equal(await page.getByRole("link", { name: "Site reliability", exact: true }).count(), 0);
    await person.follow("Archived");
    await page.getByRole("link", { name: "Site reliability", exact: true }).waitFor();
    await person.press("Restore Site reliability");
    await page.getByText(/restored|back/i).first().waitFor();
    const again = JSON.parse(await push("query", "group", group.id));
    assert.deepEqual([again.displayName, again.members[0].value], ["Site reliability", user.id]);

    await person.press("Sign out");
    await heading("Sign in");
    await person.fill("E-mail address", "ana@contoso.example");
    await person.fill("Password", PASSWORD);
    await person.press("Sign in");
    await heading("Overview");
    assert.deepEqual(faults, []);
  });
}

/** Waits until `check` holds, for 15 s. */
async function assertSoon(check, what) {
  for (let look = 0; look < 60; look += 1) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.fail(`never: ${what}`);
}
