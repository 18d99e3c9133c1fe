// The program under test, a browser, and what no page may do.

import { spawn, execFile } from "node:child_process";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import assert from "node:assert/strict";

const root = new URL("../..", import.meta.url).pathname;
const tools = process.env.TOOLS_FOLDER ?? join(root, "tests/.tools");
export const installed = createRequire(join(tools, "node/package.json"));
const { chromium } = installed("playwright-core");
const axeSource = installed.resolve("axe-core/axe.min.js");

export const program = process.env.ROLLCALL ?? join(root, "target/debug/rollcall");
const run = promisify(execFile);

/** A running `rollcall serve` with a data folder of its own. `stop()` ends it and removes the folder. */
export async function startServer(...options) {
  const data = mkdtempSync(join(tmpdir(), "rollcall-"));
  const listen = options.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const child = spawn(program, ["--data", data, "serve", ...listen, ...options],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, RUST_LOG: "warn" } });
  const said = {};
  const lines = createInterface({ input: child.stdout });
  const wanted = options.includes("--dev") ? "SCIM token" : "set up";
  await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    lines.on("line", (line) => {
      const listening = line.match(/^listening on (.*)$/);
      const [name, ...rest] = listening ? ["origin", listening[1]] : line.split(": ");
      said[name] = rest.join(": ");
      if (wanted in said && "origin" in said) resolve();
    });
  });
  return {
    origin: said.origin,
    said,
    rollcall: async (...words) => (await run(program, ["--data", data, ...words])).stdout.trim(),
    // Python, because not every Node.js has SQLite.
    sql: (statement) => run("python3", ["-c", `import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=20) as file: file.execute(sys.argv[2])`, join(data, "rollcall.db"), statement]),
    stop: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
      rmSync(data, { recursive: true });
    },
  };
}

/** SCIM with a token. */
export function scim(origin, token) {
  return async (method, path, body) => {
    const answer = await fetch(`${origin}/scim/v2${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/scim+json" },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, body: text && JSON.parse(text) };
  };
}

/** Runs the command line client of others, scim2-cli; answers what it printed. */
export async function scimCli(origin, token, ...words) {
  const cli = join(tools, "venv/bin/scim");
  const headers = `Authorization: Bearer ${token}`;
  const answer = run(cli, ["--url", `${origin}/scim/v2`, ...words],
    { timeout: 30_000, env: { ...process.env, SCIM_CLI_HEADERS: headers, NO_COLOR: "1" } });
  // It reads what to send from there, unless that ends.
  answer.child.stdin.end();
  return (await answer).stdout;
}

let shared;

/** Debian's Chromium, started once. */
export async function browser() {
  shared ??= chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
  return shared;
}

/** Ends it. */
export async function closeBrowser() {
  if (shared) await (await shared).close();
  shared = undefined;
}

/**
 * A window on `origin`, with a `page`. Whatever a page logs as an error, what its policy forbids, and what it asks from
 * elsewhere is noted in `faults`.
 */
export async function openWindow(origin, { javaScript = true, dark = false, width = 1280, state } = {}) {
  const context = await (await browser()).newContext({
    javaScriptEnabled: javaScript,
    colorScheme: dark ? "dark" : "light",
    viewport: { width, height: width < 500 ? 740 : 900 },
    reducedMotion: "reduce",
    storageState: state,
  });
  if (javaScript) await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`${page.url()}: ${error}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith("data:")) faults.push(`${page.url()} asks ${url}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 500) faults.push(`${response.status()} ${response.url()}`);
  });
  return { context, page, faults };
}

/** What axe-core finds on the page, a line each. */
export async function axeFindings(page) {
  // Past the page's own policy, which rightly forbids what isn't ours.
  const session = await page.context().newCDPSession(page);
  const { readFileSync } = await import("node:fs");
  await session.send("Runtime.evaluate", { expression: readFileSync(axeSource, "utf8") });
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
    expression: `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })
      .then(({ violations }) => violations.flatMap(({ id, help, nodes }) =>
        nodes.map((node) => id + ": " + help + ": " + node.html.slice(0, 160))))`,
    awaitPromise: true,
    returnByValue: true,
  });
  assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
  return result.value;
}

/** Presses Tab until the element that `matches` has the focus; fails after a bounded number. */
export async function tabTo(page, matches) {
  for (let press = 0; press < 200; press += 1) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(() => {
      const it = document.activeElement;
      const label = it.labels?.[0]?.textContent ?? "";
      return [it.getAttribute("aria-label") ?? "", it.textContent.trim(), label.trim(), it.id].join("|");
    });
    if (matches.test(name)) return name;
  }
  assert.fail(`Tab never reached ${matches} on ${page.url()}`);
}
