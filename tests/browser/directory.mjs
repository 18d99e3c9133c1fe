// An organisation to look at.

/** A directory with something of everything: teams, people, roles, an archive, refusals. */
export async function fill(call) {
  const schemas = (name) => [`urn:ietf:params:scim:schemas:core:2.0:${name}`];
  const patch = (...operations) => ({
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations: operations });
  await call("GET", '/Users?filter=userName+eq+"0c7f3d8e-no-such-user"');
  const people = ["Ada Lovelace", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Ken Thompson", "Radia Perlman",
    "Tim Berners-Lee", "Frances Allen", "Donald Knuth", "Margaret Hamilton", "Alan Turing", "Katherine Johnson"];
  const ids = [];
  for (const [at, name] of people.entries()) {
    const [givenName, familyName] = name.split(" ");
    const userName = `${givenName}.${familyName}@contoso.example`.toLowerCase();
    const { body } = await call("POST", "/Users", {
      schemas: schemas("User"), userName, displayName: name, name: { givenName, familyName }, externalId: `ext-${at}`,
      emails: [{ type: "work", value: userName, primary: true }], title: "Engineer", active: true,
      roleName: ["Admin", "Team lead", "Responder", "Boss", "Member"][at % 5] });
    ids.push(body.id);
  }
  for (const [displayName, from, to] of [["Site reliability", 0, 6], ["Billing", 3, 5], ["Old project", 4, 9]]) {
    const members = ids.slice(from, to).map((value) => ({ value }));
    const { body } = await call("POST", "/Groups", { schemas: schemas("Group"), displayName, externalId: displayName, members });
    if (displayName === "Old project") await call("DELETE", `/Groups/${body.id}`);
  }
  await call("PATCH", `/Users/${ids[10]}`, patch({ op: "Replace", path: "active", value: "False" }));
  await call("DELETE", `/Users/${ids[11]}`);
  await call("POST", "/Users", { schemas: schemas("User"), userName: "ada.lovelace@contoso.example" });
  await call("PATCH", `/Users/${ids[0]}`, patch({ op: "replace", path: "shoeSize", value: 38 }));
}
