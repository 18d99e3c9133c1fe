// The pictures of the README: `node tests/browser/pictures.mjs` makes them anew in packaging/pictures. Those that are kept
// there have 256 colours, which makes them a third as large; any tool for PNG does that.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fill } from "./directory.mjs";
import { closeBrowser, openWindow, scim, startServer } from "./support.mjs";

const pictures = new URL("../../packaging/pictures", import.meta.url).pathname;
const schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"];

mkdirSync(pictures, { recursive: true });
const backups = mkdtempSync(join(tmpdir(), "rollcall-"));
// Under the name that the pages show; Chromium takes loopback for as safe as HTTPS.
const server = await startServer("--backup-dir", backups, "--public-url", "https://rollcall.contoso.example");
try {
  const { page } = await openWindow(server.origin);
  const picture = (name, height) =>
    page.screenshot({ path: join(pictures, `${name}.png`), clip: { x: 0, y: 0, width: 1280, height } });
  const goes = (path) => page.goto(server.origin + path);
  await goes(new URL(server.said["set up"].split(" ")[0]).pathname);
  await page.getByLabel("Organisation").fill("Contoso");
  await page.getByLabel("E-mail address").fill("ana@contoso.example");
  await page.getByLabel("Password").fill("four unrelated words");
  await page.getByRole("button", { name: "Set up" }).click();
  await page.waitForURL("**/settings");
  await goes("/settings/provisioning");
  await page.getByRole("button", { name: "Enable provisioning" }).click();
  const call = scim(server.origin, await page.getByLabel("Secret Token").inputValue());
  // As Entra ID begins: a test of the connection, then the first person.
  await call("GET", '/Users?filter=userName+eq+"0c7f3d8e-no-such-user"');
  await call("POST", "/Users", { schemas, userName: "ana@contoso.example", displayName: "Ana Silva", active: true });
  await goes("/settings/provisioning");
  await picture("provisioning", 700);
  await fill(call);
  await goes("/settings");
  await picture("overview", 650);
} finally {
  await closeBrowser();
  await server.stop();
  rmSync(backups, { recursive: true });
}
