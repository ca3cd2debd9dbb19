// Every kind of document that we serve, read by scimmy: its schemas, resources and messages.
import SCIMMY from "scimmy";
import { assigned, brief, equal, suite } from "./checks.mjs";
import { query, send, want } from "./server.mjs";

const { Schemas, Messages } = SCIMMY;
Schemas.User.extend(Schemas.EnterpriseUser);

/** read returns what scimmy makes of a resource of ours, as JSON. */
export const read = (Schema, resource) => JSON.parse(JSON.stringify(new Schema(resource, "out")));

export default async function run() {
  const check = suite("scimmy documents");
  await resources(check);
  await lists(check);
  await discovery(check);
  await errors(check);
  await definitions(suite("scimmy schemas"));
}

async function resources(check) {
  for (const [path, Schema] of [["/Users", Schemas.User], ["/Groups", Schemas.Group]]) {
    const page = await want(200, "GET", query(path, { count: 200 }));
    await check(`${page.Resources.length} of ${path} are read without loss`, async () => {
      equal(page.Resources.length > 2, true, "some resources");
      for (const { id } of page.Resources) {
        const one = await want(200, "GET", `${path}/${id}`);
        equal(page.Resources.find((r) => r.id === id), one, "the resource in the list, and alone");
        equal(assigned(read(Schema, one)), assigned(inMilliseconds(one)), `resource ${id}`);
      }
    });
  }
}

// Times of scimmy's are JavaScript's, which know no microseconds.
export function inMilliseconds({ meta, ...rest }) {
  const [created, lastModified] = [meta.created, meta.lastModified].map((t) => new Date(t).toISOString());
  return { ...rest, meta: { ...meta, created, lastModified } };
}

async function lists(check) {
  const pages = [{}, { count: 2 }, { startIndex: 3, count: 2 }, { count: 0 }, { startIndex: 1000 }, { filter: `userName eq "nobody"` }];
  for (const parameters of pages) {
    await check(`the list of users ${brief(parameters)} is a ListResponse`, async () => {
      const body = await want(200, "GET", query("/Users", parameters));
      const { schemas, Resources, startIndex, itemsPerPage, totalResults, ...rest } = body;
      equal(rest, {}, "other members");
      equal({ ...new Messages.ListResponse(body) }, { schemas, Resources, startIndex, itemsPerPage, totalResults }, "the message");
      equal(itemsPerPage, Resources.length, "itemsPerPage");
    });
  }
  await check("pages of two are all users once", async () => {
    const all = (await want(200, "GET", query("/Users", { count: 200 }))).Resources.map((r) => r.id);
    const paged = [];
    for (let startIndex = 1; startIndex <= all.length; startIndex += 2) {
      const page = await want(200, "GET", query("/Users", { startIndex, count: 2 }));
      equal([page.totalResults, page.startIndex], [all.length, startIndex], "totalResults and startIndex");
      paged.push(...page.Resources.map((r) => r.id));
    }
    equal(paged, all, "ids");
  });
}

async function discovery(check) {
  await check("ServiceProviderConfig", async () => {
    const { pagination, ...body } = await want(200, "GET", "/ServiceProviderConfig");
    equal(typeof pagination?.index, "boolean", "pagination.index, of RFC 9865, section 4, which scimmy does not know");
    const known = JSON.parse(JSON.stringify(new Schemas.ServiceProviderConfig(body)));
    // RFC 7643, section 5 has "primary" in its sample in section 8.5; scimmy does not.
    const schemes = body.authenticationSchemes.map(({ primary: _, ...scheme }) => scheme);
    equal(assigned(known), assigned({ ...body, authenticationSchemes: schemes }), "the document");
  });
  await check("ResourceTypes", async () => {
    const { Resources } = await want(200, "GET", "/ResourceTypes");
    equal(Resources.map((r) => r.id).sort(), ["Group", "User"], "types");
    for (const one of Resources) {
      equal(await want(200, "GET", `/ResourceTypes/${one.id}`), one, one.id);
      equal(assigned(JSON.parse(JSON.stringify(new Schemas.ResourceType(one)))), assigned(one), one.id);
    }
  });
  await check("Schemas", async () => {
    const { Resources } = await want(200, "GET", "/Schemas");
    for (const one of Resources) {
      equal(await want(200, "GET", `/Schemas/${one.id}`), one, one.id);
      definition(one);
    }
  });
}

/** definition makes a definition of scimmy's out of a schema of ours; it throws where a characteristic is unknown. */
function definition(schema) {
  const attribute = ({ type, name, subAttributes = [], mutability, returned, ...config }) =>
    new SCIMMY.Types.Attribute(type, name, {
      ...config,
      mutable: { readOnly: false, readWrite: true }[mutability] ?? mutability,
      returned: { never: false, default: true }[returned] ?? returned,
      direction: "both",
    }, subAttributes.map(attribute));
  return new SCIMMY.Types.SchemaDefinition(schema.name, schema.id, schema.description, schema.attributes.map(attribute));
}

const minimal = (userName, more) => ({
  schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], userName, name: { familyName: "F", givenName: "G" },
  emails: [{ value: userName, primary: true }], ...more,
});

async function errors(check) {
  const nobody = "/Users/00000000-0000-4000-8000-000000000000";
  const patchOp = (...Operations) => ({ schemas: [Messages.PatchOp.id], Operations });
  const ada = (await want(200, "GET", query("/Users", { filter: `userName eq "ada@filter.example"` }))).Resources[0].id;
  const cases = [
    [404, undefined, "GET", nobody],
    [404, undefined, "DELETE", nobody],
    [404, undefined, "GET", "/Nothing"],
    [400, "invalidFilter", "GET", query("/Users", { filter: "userName eq" })],
    [400, "invalidFilter", "GET", query("/Users", { filter: `userName like "x"` })],
    [400, "invalidValue", "GET", query("/Users", { count: "many" })],
    [409, "uniqueness", "POST", "/Users", minimal("ada@filter.example")],
    [400, "invalidValue", "POST", "/Users", minimal("new@filter.example", { emails: [{ value: "new@filter.example" }, { value: "b@filter.example" }] })],
    [400, "invalidValue", "POST", "/Users", { schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], name: {} }],
    [400, "invalidSyntax", "PATCH", `/Users/${ada}`, { schemas: [Messages.PatchOp.id] }],
    [400, "invalidSyntax", "PATCH", `/Users/${ada}`, patchOp({ op: "move", path: "title", value: "x" })],
    [400, "noTarget", "PATCH", `/Users/${ada}`, patchOp({ op: "remove" })],
    [400, "noTarget", "PATCH", `/Users/${ada}`, patchOp({ op: "replace", path: `emails[value eq "none@x.example"].display`, value: "x" })],
    [400, "invalidPath", "PATCH", `/Users/${ada}`, patchOp({ op: "replace", path: "shoeSize", value: "42" })],
    [400, "invalidPath", "PATCH", `/Users/${ada}`, patchOp({ op: "replace", path: "emails[", value: "42" })],
    [400, "mutability", "PATCH", `/Users/${ada}`, patchOp({ op: "replace", path: "id", value: "42" })],
    [400, "mutability", "PATCH", `/Users/${ada}`, patchOp({ op: "remove", path: "userName" })],
    [400, "invalidValue", "PATCH", `/Users/${ada}`, patchOp({ op: "replace", path: "active", value: "perhaps" })],
    [412, undefined, "PATCH", `/Users/${ada}`, patchOp({ op: "replace", path: "title", value: "x" }), { "if-match": 'W/"0"' }],
    [401, undefined, "GET", "/Users", undefined, { authorization: "Bearer wrong" }],
    [403, undefined, "GET", query("/Schemas", { filter: `id eq "x"` })],
    [409, "uniqueness", "POST", "/Groups", { displayName: "filter empty" }],
    [400, "invalidValue", "POST", "/Groups", { displayName: "Filter Ghosts", members: [{ value: "00000000-0000-4000-8000-000000000000" }] }],
  ];
  for (const [status, scimType, method, path, body, headers] of cases) {
    await check(`${method} ${path.replace(ada, "ada")} ${body ? brief(body).slice(0, 120) + " " : ""}is an error of ${status} ${scimType ?? ""}`, async () => {
      const answer = await send(method, path, body, headers);
      equal([answer.status, answer.body.scimType, answer.headers.get("content-type")], [status, scimType, "application/scim+json"], "answer");
      const { schemas, detail, ...rest } = answer.body;
      equal(rest, { status: String(status), ...(scimType && { scimType }) }, "members beside schemas and detail");
      // With the schema scimmy takes it for an answer and throws what it read; without, it checks status and keyword.
      let thrown;
      try {
        new Messages.ErrorResponse(answer.body);
      } catch (error) {
        thrown = error;
      }
      equal([thrown?.name, Number(thrown?.status), thrown?.scimType, thrown?.message], ["SCIMError", status, scimType, detail], "error");
      new Messages.ErrorResponse({ status, scimType, detail });
    });
  }
  // 405, 413, 415 and 429 come from HTTP, not from the table in RFC 7644, section 3.12, that scimmy keeps to.
  for (const [status, method, path, body, headers] of [
    [405, "DELETE", "/Users"],
    [415, "POST", "/Users", {}, { "content-type": "text/plain" }],
    [413, "POST", "/Users", { displayName: "x".repeat(1 << 21) }],
  ]) {
    await check(`${method} ${path} is an error of ${status}`, async () => {
      const answer = await send(method, path, body, headers);
      equal([answer.status, answer.body.status, answer.body.schemas], [status, String(status), [Messages.ErrorResponse.id]], "answer");
    });
  }
}

const stricter = "RFC 7643, section 2.2 leaves to the service provider what is required and unique; here this is";
const exact = `RFC 7643, section 2.3.7: "A reference is case exact"; the samples in section 8.7 say otherwise`;
const ids = `RFC 7643, section 3.1: an "id" is case exact, so what holds one is compared as one`;

// What our schemas and scimmy's, which follow RFC 7643, section 8.7, say differently, and why.
const differences = {
  "User name required": stricter,
  "User name.familyName required": stricter,
  "User name.givenName required": stricter,
  "User emails required": stricter,
  "User profileUrl caseExact": exact,
  "User password caseExact": "case counts in a password, not that one is ever compared here",
  "User photos.value caseExact": exact,
  "User groups.value caseExact": ids,
  "User groups.$ref caseExact": exact,
  "User groups.$ref referenceTypes": `RFC 7643, section 4.1.2: "The URI of the corresponding "Group" resource"`,
  "User roles.type canonicalValues": "an empty list of suggestions is the same as none",
  "User x509Certificates.type canonicalValues": "an empty list of suggestions is the same as none",
  "Group displayName uniqueness": stricter,
  "Group members.value caseExact": ids,
  "Group members.$ref caseExact": exact,
  "Group members.display mutability": "RFC 7643, section 2.4 has it immutable; it is the member's name here, which nobody states",
  "EnterpriseUser manager.value caseExact": ids,
  "EnterpriseUser manager.$ref caseExact": exact,
  "EnterpriseUser manager.displayName mutability": "RFC 7643, section 4.3 has it derived; a manager may be unknown here, so what is stated is kept",
  "ServiceProviderConfig documentationUri caseExact": exact,
  "ServiceProviderConfig authenticationSchemes.specUri caseExact": exact,
  "ServiceProviderConfig authenticationSchemes.documentationUri caseExact": exact,
  "ResourceType endpoint caseExact": exact,
};

const characteristics = ["type", "multiValued", "required", "caseExact", "mutability", "returned", "uniqueness", "canonicalValues", "referenceTypes"];

async function definitions(check) {
  const { Resources } = await want(200, "GET", "/Schemas");
  for (const Schema of [Schemas.User, Schemas.Group, Schemas.EnterpriseUser, Schemas.ServiceProviderConfig, Schemas.ResourceType]) {
    const theirs = JSON.parse(JSON.stringify(Schema.definition.describe()));
    const ours = Resources.find((r) => r.id === theirs.id);
    await compare(check, `${ours.name} `, ours.attributes, theirs.attributes);
  }
}

async function compare(check, path, ours, theirs) {
  for (const their of theirs) {
    if (their.name.startsWith("urn:")) continue;
    const our = ours.find((a) => a.name === their.name);
    const stated = characteristics.filter((c) => their[c] !== undefined);
    const differing = stated.filter((c) => JSON.stringify(our?.[c]) !== JSON.stringify(their[c]));
    if (differing.length === 0) await check(`${path}${their.name} is defined alike`, () => {});
    for (const c of differing) {
      check.agree(`${path}${their.name} ${c}`, our?.[c], their[c], differences[`${path}${their.name} ${c}`]);
    }
    await compare(check, `${path}${their.name}.`, our?.subAttributes ?? [], their.subAttributes ?? []);
  }
}
