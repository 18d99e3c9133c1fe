// PATCH as rollcall does it over HTTP, held against the npm package scim-patch on random resources and operations.
//
// scim-patch knows no schemas and isn't always right. Where the two differ, a rule below must say what is right and which
// paragraph says so: it corrects scim-patch's result of one operation. What is then still different fails the test, and so does
// a rule that nothing needed. SEED=… and CASES=… choose others.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { installed, scim, startServer } from "../browser/support.mjs";

const SEED = Number(process.env.SEED ?? 20261124);
const CASES = Number(process.env.CASES ?? 2000);
const CORE = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const LISTS = { emails: "display", phoneNumbers: "display" };
const REFUSED = { refused: true };

const { scimPatch } = installed("scim-patch");
const copy = (value) => structuredClone(value);
const isList = (operation) => operation.attribute in LISTS;
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// What is random: mulberry32, a generator that fits here.
let state = SEED;
function below(limit) {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
}
const one = (...choices) => choices[below(choices.length)];
const sometimes = (chance, value) => (below(100) < chance ? value() : undefined);
const without = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

const word = () => one("a", "b", "ab", "Ada", "work");
const element = () => without({
  value: word(), type: sometimes(80, () => one("work", "home")),
  primary: sometimes(40, () => one(true, false)), display: sometimes(30, word),
});
/** A list that is right as it is: at most one primary value, none twice by type and value. */
function list() {
  const values = Array.from({ length: 1 + below(3) }, element);
  return settled(values, values);
}

function resource(number) {
  const name = without({ givenName: sometimes(70, word), familyName: sometimes(70, word) });
  return without({
    userName: `user ${number}`,
    title: sometimes(50, word),
    active: sometimes(50, () => one(true, false)),
    name: Object.keys(name).length ? name : undefined,
    emails: sometimes(75, list),
    phoneNumbers: sometimes(30, list),
    [ENTERPRISE]: sometimes(40, () => ({ department: word() })),
  });
}

const condition = () => {
  const [part, operator, wanted] = [one("type", "type", "value"), one("eq", "eq", "eq", "ne", "sw"), one("work", "home", "Work", "a")];
  return { part, operator, wanted, text: `${part} ${operator} "${wanted}"` };
};

/** An operation, with `attribute`, `filter` and `sub`, of which its path is made; `bare` is without a path. */
function operation(number) {
  const op = one("add", "replace", "remove");
  const simple = (attribute, value, sub) => ({ op, attribute, sub, value });
  const onList = () => {
    const [attribute, filter] = [one("emails", "emails", "phoneNumbers"), sometimes(65, condition)];
    const sub = filter && sometimes(50, () => one("value", "display", "primary"));
    const value = sub === "primary" ? one(true, false) : sub ? word() : filter ? element() : list();
    return { op, attribute, filter, sub, value };
  };
  const made = one(
    onList, onList, onList, onList,
    () => simple("title", word()),
    () => simple("active", one(true, false)),
    () => simple("name", word(), one("givenName", "familyName")),
    () => simple("name", { familyName: word() }),
    () => simple(ENTERPRISE, word(), one("department", "division")),
    () => simple("userName", `user ${number} ${word()}`),
    () => simple(one("TITLE", "nothing", "id"), word()),
    () => simple("title", 7),
  )();
  if (op === "remove") delete made.value;
  const named = ["id", "nothing"].includes(made.attribute);
  return { ...made, bare: op !== "remove" && !made.filter && !named && below(4) === 0 };
}

/** What is sent. */
function sent({ op, attribute, filter, sub, value, bare }) {
  const name = attribute === ENTERPRISE ? `${ENTERPRISE}:${sub}` : `${attribute}${filter ? `[${filter.text}]` : ""}${sub ? `.${sub}` : ""}`;
  return bare ? { op, value: { [name]: value } } : without({ op, path: name, value });
}

/** RFC 7644 §3.5.2 and RFC 7643 §2.4 for a list in which `given` were set just now. */
function settled(values, given) {
  const winner = values.findLast((value) => given.includes(value) && value.primary === true);
  const result = [];
  for (const value of values) {
    const shown = winner && value !== winner && value.primary ? { ...value, primary: false } : value;
    const same = result.find(({ value: it }) => it.value !== undefined && it.value === value.value
      && (it.type ?? "").toLowerCase() === (value.type ?? "").toLowerCase() || isDeepStrictEqual(it, value));
    const isGiven = given.includes(value);
    if (!same) result.push({ value: shown, isGiven });
    else {
      same.value = same.isGiven && !isGiven ? { ...shown, ...same.value } : { ...same.value, ...shown };
      same.isGiven ||= isGiven;
    }
  }
  return result.map(({ value }) => value);
}

/** Whether a value fulfils the condition, as RFC 7644 §3.4.2.2 has it: no case, and `ne` is the opposite of `eq`. */
function fulfils(value, { part, operator, wanted }) {
  const found = value[part]?.toLowerCase();
  const text = wanted.toLowerCase();
  return { eq: found === text, ne: found !== text, sw: found?.startsWith(text) ?? false }[operator];
}

const finds = (before, { attribute, filter }) => filter && before[attribute]?.some((it) => fulfils(it, filter));

/**
 * What scim-patch does otherwise. `right(before, operation, after)` answers the right result of one operation, REFUSED, or
 * undefined where the rule says nothing; `after` is scim-patch's result, or that of the rules before.
 */
const RULES = [
  {
    name: "a readOnly attribute can't be written",
    paragraph: "RFC 7644 §3.5.2: compatible with the attribute's mutability",
    right: (_, { attribute }) => (attribute === "id" ? REFUSED : undefined),
  },
  {
    name: "an attribute that no schema has is no target",
    paragraph: "RFC 7644 §3.12, table 9: invalidPath",
    right: (_, { attribute }) => (attribute === "nothing" ? REFUSED : undefined),
  },
  {
    name: "a value has the type that the schema says",
    paragraph: "RFC 7644 §3.12, table 9: invalidValue",
    right: (_, { value, attribute }) => (attribute === "title" && value === 7 ? REFUSED : undefined),
  },
  {
    name: "a required attribute can't be removed",
    paragraph: "RFC 7644 §3.5.2.2: scimType mutability",
    right: (_, { op, attribute }) => (op === "remove" && attribute === "userName" ? REFUSED : undefined),
  },
  {
    name: "names have no case",
    paragraph: "RFC 7643 §2.1: attribute names are case insensitive",
    right: (before, { op, attribute, value }) => {
      if (attribute !== "TITLE") return undefined;
      return without({ ...before, title: op === "remove" ? undefined : value });
    },
  },
  {
    name: "of a complex attribute, what isn't given stays, also without a path",
    paragraph: "RFC 7644 §3.5.2.1, §3.5.2.3: a set of sub-attributes … replaces any existing values or adds",
    right: (before, { op, attribute, bare, value }) => {
      const isWhole = attribute === "name" && isObject(value) && bare && op !== "remove";
      return isWhole ? { ...before, name: { ...before.name, ...value } } : undefined;
    },
  },
  {
    name: "filters have no case, and ne is true where nothing is",
    paragraph: "RFC 7644 §3.4.2.2 with RFC 7643 §4.1.2: caseExact is false; table 3: ne",
    right: (before, operation) => (finds(before, operation) ? selected(before, operation, { labels: true }) : undefined),
  },
  {
    name: "what a filter selects is replaced, and not merged",
    paragraph: "RFC 7644 §3.5.2.3: all matching record values SHALL be replaced",
    right: (before, operation) => {
      const { op, filter, sub } = operation;
      if (op !== "replace" || sub || !finds(before, operation)) return undefined;
      return selected(before, operation, { rest: filter.operator === "eq" ? { [filter.part]: filter.wanted } : {} });
    },
  },
  {
    name: "removing what isn't there is a success",
    paragraph: "RFC 7644 §3.5.2.2: no changes should be made, and a success response",
    right: (before, operation) => {
      const { op, filter } = operation;
      return op === "remove" && filter && !finds(before, operation) ? before : undefined;
    },
  },
  {
    name: "a value that isn't there is made as its filter says",
    paragraph: "RFC 7644 §3.5.2.1: the attribute and value are added. For replace, §3.5.2.3 says noTarget, on which Entra ID's "
      + "and Microsoft's validator's requests would fail",
    right: (before, operation) => {
      const { op, attribute, filter, sub, value } = operation;
      if (op === "remove" || !filter || finds(before, operation)) return undefined;
      const said = filter.operator === "eq" ? { [filter.part]: filter.wanted } : undefined;
      const made = { ...said, ...(sub ? { [sub]: value } : value) };
      if (!said || !fulfils(made, filter)) return REFUSED;
      return { ...before, [attribute]: settled([...before[attribute] ?? [], made], [made]) };
    },
  },
  {
    name: "nothing twice, and one primary value",
    paragraph: "RFC 7644 §3.5.2: sets primary to false for any other values; RFC 7643 §2.4: not the same (type, value) twice",
    right: (before, operation, after) => {
      const { op, attribute, filter, value } = operation;
      if (!isList(operation) || op === "remove" || after.refused) return undefined;
      if (filter) return undefined;
      const there = op === "add" ? before[attribute] ?? [] : [];
      return { ...after, [attribute]: settled([...there, ...value], value) };
    },
  },
  {
    name: "what has only a label left is removed with it",
    paragraph: "RFC 7643 §2.4: type is a label of the value; RFC 7644 §3.5.2.2: whose values have been removed",
    right: (before, operation) => {
      const { op, sub } = operation;
      return op === "remove" && sub && finds(before, operation) ? selected(before, operation, {}) : undefined;
    },
  },
  {
    name: "what is empty is unassigned",
    paragraph: "RFC 7643 §2.5: an empty array or no sub-attribute is the same as nothing",
    right: (_, __, after) => (after.refused ? undefined : assigned(after)),
  },
];

/**
 * The resource after an operation on the values that a filter selects. These are made of `rest` where that is given; those of
 * which only a label is left stay if `labels`.
 */
function selected(before, { op, attribute, filter, sub, value }, { rest, labels }) {
  const given = [];
  const values = before[attribute].flatMap((it) => {
    if (!fulfils(it, filter)) return [it];
    if (op === "remove") {
      const { [sub]: _, ...left } = sub ? it : {};
      const says = Object.keys(left).some((part) => labels || (part !== "type" && part !== "primary"));
      return says ? [left] : [];
    }
    given.push({ ...(rest ?? it), ...(sub ? { [sub]: value } : value) });
    return given.slice(-1);
  });
  return { ...before, [attribute]: settled(values, given) };
}

function assigned(resource) {
  const isEmpty = (value) => (Array.isArray(value) ? !value.length : isObject(value) && !Object.keys(value).length);
  return Object.fromEntries(Object.entries(resource).filter(([, value]) => !isEmpty(value)));
}

/** What is right after all operations, and the rules that it took. */
function expected(document, operations) {
  const needed = new Set();
  let right = document;
  for (const operation of operations) {
    const theirs = attempt(right, operation);
    let found = theirs;
    for (const rule of RULES) {
      const corrected = rule.right(right, operation, found);
      if (corrected && !isDeepStrictEqual(corrected, found)) {
        needed.add(rule);
        found = corrected;
      }
      if (found.refused && corrected) break;
    }
    if (found.refused) return { right: REFUSED, needed };
    right = found;
  }
  return { right, needed };
}

function attempt(document, operation) {
  try {
    return scimPatch(copy(document), [copy(sent(operation))]);
  } catch {
    return REFUSED;
  }
}

let server;
let call;
before(async () => {
  server = await startServer("--dev", "--scim-rate", "1000000", "--scim-burst", "1000000");
  call = scim(server.origin, server.said["SCIM token"]);
});
after(() => server?.stop());

/** The attributes that a client can set. `schemas` must follow from them (RFC 7644 §3.5.2). */
function written({ schemas, id, meta, groups, ...document }) {
  assert.deepEqual(schemas, ENTERPRISE in document ? [CORE, ENTERPRISE] : [CORE]);
  return document;
}

const count = new Map(RULES.map((rule) => [rule, 0]));
let alike = 0;

async function compare({ body, operations, number }) {
  const created = await call("POST", "/Users", { schemas: [CORE], ...body });
  assert.equal(created.status, 201, JSON.stringify(created.body));
  const document = written(created.body);
  const { right, needed } = expected(document, operations);
  const Operations = operations.map((it) => sent(it));
  const patched = await call("PATCH", `/Users/${created.body.id}`, { schemas: [PATCH_OP], Operations });
  const rules = [...needed].map((rule) => rule.name);
  const story = `case ${number}: ${JSON.stringify({ document, Operations, answer: patched.body, rules }, null, 1)}`;
  assert.ok([200, 400].includes(patched.status), story);
  const found = patched.status === 200 ? written(patched.body) : REFUSED;
  assert.deepEqual(found, right, `a difference that no rule explains, ${story}`);
  if (found === REFUSED) {
    const kept = await call("GET", `/Users/${created.body.id}`);
    assert.deepEqual(written(kept.body), document, `a refused PATCH changes nothing (RFC 7644 §3.5.2), ${story}`);
  }
  for (const rule of needed) count.set(rule, count.get(rule) + 1);
  alike += needed.size ? 0 : 1;
}

test(`${CASES} random patches, SEED=${SEED}`, async () => {
  const cases = Array.from({ length: CASES }, (_, number) => {
    const operations = Array.from({ length: 1 + below(3) }, () => operation(number));
    return { number, body: resource(number), operations };
  });
  const worker = async () => {
    for (let next = cases.pop(); next; next = cases.pop()) await compare(next);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  console.log(`${alike} of ${CASES} alike. Otherwise scim-patch differs:`);
  for (const [rule, times] of count) console.log(`${String(times).padStart(6)}  ${rule.name} (${rule.paragraph})`);
  assert.ok(alike > CASES / 5, "hardly anything is the same");
  for (const [rule, times] of count) assert.ok(times > 0 || CASES < 1000, `no case needs the rule: ${rule.name}`);
});
