// The provider that signs people in: oidc-provider, which others wrote and certified, on loopback.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { once } from "node:events";

const root = new URL("../..", import.meta.url).pathname;
const tools = process.env.TOOLS_FOLDER ?? join(root, "tests/.tools");
const installed = createRequire(join(tools, "node/package.json"));

export const CLIENT = { id: "rollcall", secret: "a-secret/of+the%provider~s" };

/** Signs in whoever types a name; the name is the subject. Who types NAME=ADDRESS claims that address. `callback` is where
 * it may send people back. */
export async function startProvider(callback) {
  const { Provider } = await import(pathToFileURL(installed.resolve("oidc-provider")));
  const server = createServer();
  // By name, so that it is another site than rollcall, which is known by address.
  server.listen(0, "localhost");
  await once(server, "listening");
  const issuer = `http://localhost:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      redirect_uris: [callback],
      backchannel_logout_uri: new URL("/sso/logout/dev", callback).href,
      post_logout_redirect_uris: [new URL("/sign-in", callback).href],
    }],
    cookies: { keys: ["for tests"] },
    // Without its own refusal of addresses on this machine.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    conformIdTokenClaims: false,
    claims: { openid: ["sub"], profile: ["preferred_username", "name"], email: ["email", "email_verified"] },
    findAccount: (_, sub) => {
      const own = `${sub.split("=")[0]}@example.org`;
      const email = sub.split("=")[1] ?? own;
      return { accountId: sub, claims: () => ({ sub, preferred_username: own, name: sub, email, email_verified: true }) };
    },
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
  });
  server.on("request", provider.callback());
  return {
    issuer,
    stop: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(resolve);
    }),
  };
}

/** At the provider: types a name, and agrees. */
export async function signInThere(page, name) {
  await page.getByPlaceholder("Enter any login").fill(name);
  await page.getByPlaceholder("and password").fill("anything");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
}
