// Lists (RFC 7644, section 3.4): their order, what is selected of each resource, POST /.search and cursors. scimmy holds
// what we serve and answers the same questions; another library sorts.
import { compileSorter } from "scim-query-filter-parser";
import SCIMMY from "scimmy";
import { assigned, equal, suite } from "./checks.mjs";
import { inMilliseconds } from "./documents.mjs";
import { query, send, want } from "./server.mjs";

const { Messages, Resources, Schemas } = SCIMMY;
const enterprise = Schemas.EnterpriseUser.id;
const copy = (value) => JSON.parse(JSON.stringify(value));

export default async function run() {
  const users = (await want(200, "GET", query("/Users", { count: 200 }))).Resources;
  const groups = (await want(200, "GET", query("/Groups", { count: 200 }))).Resources;
  for (const [Type, all] of [[Resources.User, users], [Resources.Group, groups]]) {
    Type.egress((resource) => (resource.id ? all.find((r) => r.id === resource.id) : resource.filter?.match(all) ?? all));
    Type.basepath(undefined);
  }
  await order(users);
  await selection(users);
  await search(groups);
  await cursors(suite("written here"), users);
}

const last = `section 3.4.2.3: resources without a value are "ordered last if ascending and first if descending"`;
const cased = "section 3.4.2.3: what is not case exact is sorted without case; the library sorts with case";
const names = `RFC 7643, section 2.1: "Attribute names are case insensitive"`;
const values = `section 3.4.2.3: of several values the primary one counts, or the first; the library finds none`;
const urn = "section 3.10: names may have their schema's URN in front; the library does not find them";

// By attribute, why a library orders otherwise.
const sorts = [
  ["userName", { parser: cased }],
  ["USERNAME", { scimmy: names, parser: cased }],
  ["name.familyName"],
  ["displayName", { parser: cased }],
  ["title", { parser: last }],
  ["userType", { parser: last }],
  ["nickName", { parser: last }],
  ["externalId", { parser: last }],
  ["active"],
  ["meta.created"],
  ["emails"],
  ["emails.value", { scimmy: values }],
  [`${enterprise}:department`, { scimmy: urn, parser: urn }],
];

async function order(users) {
  const [scimmy, parser] = [suite("scimmy ListResponse"), suite("scim-query-filter-parser")];
  for (const [sortBy, known = {}] of sorts) {
    for (const sortOrder of ["ascending", "descending"]) {
      const what = `sortBy ${sortBy} ${sortOrder}`;
      const answer = await send("GET", query("/Users", { sortBy, sortOrder, count: 200 }));
      const ours = answer.status === 200 ? keys(answer.body.Resources, sortBy) : answer.body;
      scimmy.agree(what, ours, outcome(() => keys(new Messages.ListResponse(copy(users), { sortBy, sortOrder, count: 200 }).Resources, sortBy)), known.scimmy);
      parser.agree(what, ours, outcome(() => {
        const sorted = copy(users).sort(compileSorter(sortBy));
        return keys(sortOrder === "descending" ? sorted.reverse() : sorted, sortBy);
      }), known.parser);
    }
  }
}

/** keys are what resources are ordered by: those with the same key may come in any order. */
function keys(resources, sortBy) {
  const path = sortBy.startsWith("urn:") ? [enterprise, sortBy.split(":").at(-1)] : sortBy.split(".");
  const member = (object, name) => object?.[Object.keys(object).find((k) => k.toLowerCase() === name.toLowerCase())];
  return resources.map((resource) => {
    let value = path.reduce((v, name) => (Array.isArray(v) ? v : member(v, name)), resource);
    if (Array.isArray(value)) value = (value.find((v) => v.primary) ?? value[0])?.value;
    return typeof value === "string" ? value.toLowerCase() : (value ?? null);
  });
}

const extensions = `section 3.4.2.5: "attributes" overrides what is returned by default; the library returns extensions all the same`;

const selections = [
  [{ attributes: "userName" }],
  [{ attributes: "userName,emails" }],
  [{ attributes: "emails.value" }, extensions],
  [{ attributes: "name.givenName,name.familyName" }, extensions],
  [{ attributes: "USERNAME,Name.GivenName" }],
  [{ attributes: "groups" }],
  [{ attributes: "password" }],
  [{ attributes: "shoeSize" }, extensions],
  [{ attributes: "id" }],
  [{ attributes: "meta.location" }, extensions],
  [{ attributes: enterprise }],
  [{ attributes: `${enterprise}:department` }],
  [{ attributes: `${enterprise}:manager.value` }],
  [{ excludedAttributes: "emails" }],
  [{ excludedAttributes: "emails.type,emails.display" }],
  [{ excludedAttributes: "name.givenName" }],
  [{ excludedAttributes: "groups,addresses" }],
  [{ excludedAttributes: "id,userName" }],
  [{ excludedAttributes: enterprise }],
  [{ excludedAttributes: `${enterprise}:manager` }],
  [{ excludedAttributes: "shoeSize" }],
];

async function selection(users) {
  const check = suite("scimmy selection");
  const ada = users.find((u) => u.userName === "ada@filter.example");
  const compared = ({ schemas: _, meta, ...rest }) => assigned({ ...rest, ...(meta && { meta: meta.created ? inMilliseconds({ meta }).meta : { ...meta, resourceType: undefined } }) });
  for (const [parameters, known] of selections) {
    const what = `${Object.keys(parameters)[0]} ${Object.values(parameters)[0]}`;
    const ours = compared(await want(200, "GET", query(`/Users/${ada.id}`, parameters)));
    // Not read(): the resource that it makes of what is left wants the schemas again.
    const { attributes } = new Resources.User(ada.id, parameters);
    const theirs = outcome(() => compared(copy(Schemas.User.definition.coerce(copy(ada), "out", undefined, attributes))));
    check.agree(what, ours, theirs, known);
  }
}

const requests = [
  { filter: `userName ew "@filter.example"` },
  { filter: `name.familyName pr`, sortBy: "name.familyName", sortOrder: "descending" },
  { attributes: ["userName", "emails.value"], count: 3 },
  { excludedAttributes: ["emails", "groups"], startIndex: 2, count: 2 },
  { filter: `active eq true`, sortBy: "userName", startIndex: 2, count: 3, attributes: ["userName"] },
];

async function search(groups) {
  const check = suite("scimmy SearchRequest");
  for (const request of requests) {
    await check(`POST /Users/.search ${JSON.stringify(request)} answers as GET does`, async () => {
      const posted = await want(200, "POST", "/Users/.search", copy(new Messages.SearchRequest().prepare(request)));
      const parameters = Object.fromEntries(Object.entries(request).map(([k, v]) => [k, Array.isArray(v) ? v.join(",") : v]));
      equal(posted, await want(200, "GET", query("/Users", parameters)), "the answer");
      new Messages.ListResponse(posted);
    });
  }
  await check("POST /Groups/.search finds groups", async () => {
    const posted = await want(200, "POST", "/Groups/.search", copy(new Messages.SearchRequest().prepare({ filter: `displayName sw "Filter"` })));
    equal(posted.Resources.map((g) => g.id).sort(), groups.filter((g) => /^filter/i.test(g.displayName)).map((g) => g.id).sort(), "ids");
  });
  const both = suite("scimmy SearchRequest on both types");
  for (const filter of [`displayName sw "Filter"`, `meta.resourceType eq "Group"`, `userName eq "bob@filter.example" or displayName eq "Filter Empty"`, `externalId pr`, `id pr`]) {
    const request = { filter, count: 200 };
    const ours = (await want(200, "POST", "/.search", copy(new Messages.SearchRequest().prepare(request)))).Resources.map((r) => r.id).sort();
    const theirs = await new Messages.SearchRequest().prepare(request).apply([Resources.User, Resources.Group]);
    both.agree(filter, ours, theirs.Resources.map((r) => r.id).sort(), filter.includes(" sw ") ? `RFC 7643, section 2.2: displayName is not case exact; the library compares with case` : undefined);
  }
  await check("a message that is no SearchRequest is refused alike", async () => {
    const wrong = { schemas: [Messages.ListResponse.id] };
    const { status, body } = await send("POST", "/Users/.search", wrong);
    const theirs = outcome(() => new Messages.SearchRequest(wrong));
    equal([status, body.scimType, Boolean(theirs.theirError)], [400, "invalidSyntax", true], "refusal");
  });
}

async function cursors(check, users) {
  await check("a walk by cursors is the list by indexes, each page a ListResponse", async () => {
    const { pagination } = await want(200, "GET", "/ServiceProviderConfig");
    equal([pagination.cursor, pagination.index], [true, true], "cursor and index");
    const seen = [];
    let page = await want(200, "GET", query("/Users", { cursor: "", count: 2 }));
    for (;;) {
      new Messages.ListResponse(page);
      seen.push(...page.Resources);
      if (page.nextCursor === undefined) break;
      page = await want(200, "GET", query("/Users", { cursor: page.nextCursor, count: 2 }));
    }
    equal(seen, users, "users");
  });
  for (const [what, scimType, parameters] of [
    ["a cursor that is none", "invalidCursor", { cursor: "none" }],
    ["a count that is no number", "invalidCount", { cursor: "", count: "x" }],
  ]) {
    await check(`${what} is ${scimType}`, async () => {
      const { status, body } = await send("GET", query("/Users", parameters));
      equal([status, body.scimType], [400, scimType], "refusal");
    });
  }
}

function outcome(answer) {
  try {
    return answer();
  } catch (error) {
    return { theirError: error.message };
  }
}
