// Bulk requests (RFC 7644, section 3.7) with scimmy as the oracle: it runs the same request on resources that it keeps
// in memory, and reads our answer.
import { randomUUID } from "node:crypto";
import SCIMMY from "scimmy";
import { equal, suite } from "./checks.mjs";
import { send, want } from "./server.mjs";

const { Messages, Resources, Types } = SCIMMY;
const user = (name, more) => ({
  schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], userName: `${name}@bulk.example`, name: { givenName: name, familyName: "Bulk" },
  emails: [{ value: `${name}@bulk.example`, primary: true }], ...more,
});
const group = (displayName, ...members) => ({
  schemas: ["urn:ietf:params:scim:schemas:core:2.0:Group"], displayName, members: members.map((value) => ({ value })),
});
const post = (path, bulkId, data) => ({ method: "POST", path, bulkId, data });
const patch = (path, ...Operations) => ({ method: "PATCH", path, data: { schemas: [Messages.PatchOp.id], Operations } });

const behind = `section 3.7.1: "MUST try to resolve circular cross-references", so an operation may refer to a later one; scimmy takes that for a circle and creates twice`;
const nothing = "section 3.7.1 has 409 for references that are not resolved; scimmy takes 400";
const missing = `table 9 has invalidValue for "A required value was missing"; scimmy takes invalidSyntax`;
const nowhere = "section 3.7 wants the location of what failed; a method that is none addresses nothing";

// Each: what it is, its operations by the id of a user who is there, failOnErrors, and why scimmy comes to something else.
const table = [
  ["a user", () => [post("/Users", "u", user("a"))]],
  ["a user and a group that refers to it", () => [post("/Users", "u", user("a")), post("/Groups", "g", group("Bulk", "bulkId:u"))]],
  ["a group that refers to a user behind it", () => [post("/Groups", "g", group("Bulk", "bulkId:u")), post("/Users", "u", user("a"))], 0, behind],
  ["two users and a group", () => [post("/Users", "1", user("a")), post("/Users", "2", user("b")), post("/Groups", "g", group("Bulk", "bulkId:1", "bulkId:2"))]],
  ["replace", (id) => [{ method: "PUT", path: `/Users/${id}`, data: user("there", { title: "New" }) }]],
  ["patch", (id) => [patch(`/Users/${id}`, { op: "replace", path: "title", value: "New" })]],
  ["delete", (id) => [{ method: "DELETE", path: `/Users/${id}` }]],
  ["a reference in a PATCH", (id, g) => [post("/Users", "u", user("a")), patch(`/Groups/${g}`, { op: "add", path: "members", value: [{ value: "bulkId:u" }] })]],
  ["everything at once", (id, g) => [
    post("/Users", "u", user("a")), patch(`/Users/${id}`, { op: "add", path: "nickName", value: "n" }),
    { method: "PUT", path: `/Groups/${g}`, data: group("Bulk Put", "bulkId:u") }, { method: "DELETE", path: `/Users/${id}` },
  ]],
  ["an error does not stop the rest", () => [post("/Users", "u", user("there")), post("/Users", "v", user("a"))]],
  ["failOnErrors stops the rest", () => [post("/Users", "u", user("there")), post("/Users", "v", user("a"))], 1],
  ["failOnErrors counts", () => [post("/Users", "u", user("there")), post("/Users", "v", user("there")), post("/Users", "w", user("a"))], 2],
  ["nobody there", () => [patch("/Users/00000000-0000-4000-8000-000000000000", { op: "replace", path: "title", value: "x" })]],
  ["a reference to nothing", () => [post("/Groups", "g", group("Bulk", "bulkId:nothing"))], 0, nothing],
  ["POST without bulkId", () => [{ method: "POST", path: "/Users", data: user("a") }], 0, missing],
  ["a method that is none", () => [{ method: "GET", path: "/Users" }], 0, nowhere],
  ["a path that is none", () => [post("/Things", "t", {})]],
  ["a PATCH that is none", (id) => [patch(`/Users/${id}`, { op: "move", path: "title" })]],
];

export default async function run() {
  const check = suite("scimmy BulkRequest");
  const memory = new Memory();
  for (const [what, operations, failOnErrors = 0, known] of table) {
    const ours = await onServer(operations, failOnErrors);
    const theirs = await memory.run(operations, failOnErrors);
    check.agree(what, ours, theirs, known);
  }
  await limits(check);
}

async function limits(check) {
  await check("as many operations as ServiceProviderConfig allows, and not one more", async () => {
    const { bulk } = await want(200, "GET", "/ServiceProviderConfig");
    const many = Array(bulk.maxOperations + 1).fill({ method: "DELETE", path: "/Users/00000000-0000-4000-8000-000000000000" });
    const all = await want(200, "POST", "/Bulk", request(many.slice(1)));
    equal(new Messages.BulkResponse(all).Operations.length, bulk.maxOperations, "operations");
    equal((await send("POST", "/Bulk", request(many))).status, 413, "status of one too many");
  });
  await check("bulkIds are resolved by scimmy to the resources that we made", async () => {
    const body = await want(200, "POST", "/Bulk", request([post("/Users", "u", user("a")), post("/Groups", "g", group("Bulk", "bulkId:u"))]));
    const ids = new Messages.BulkResponse(body).resolve();
    equal((await want(200, "GET", `/Groups/${ids.get("g")}`)).members.map((m) => m.value), [ids.get("u")], "members");
    await want(204, "DELETE", `/Groups/${ids.get("g")}`);
    await want(204, "DELETE", `/Users/${ids.get("u")}`);
  });
}

const request = (Operations, failOnErrors = 0) => ({ schemas: [Messages.BulkRequest.id], Operations, ...(failOnErrors && { failOnErrors }) });
const copy = (value) => JSON.parse(JSON.stringify(value));

/** result is what matters of an operation's outcome: RFC 7644, section 3.5.2 leaves it open whether a PATCH is 200 or 204. */
function result({ method, bulkId, status, location, response }) {
  const succeeded = Number(status) < 300;
  return {
    method, bulkId, status: succeeded && method === "PATCH" ? "2xx" : String(status),
    location: typeof location === "string" ? location.split("/").at(succeeded ? -2 : -1).replace(/^[0-9a-f-]{36}$|^\d+$/, "id") : undefined,
    response: response && { schemas: response.schemas, status: response.status, scimType: response.scimType },
  };
}

async function onServer(operations, failOnErrors) {
  const there = (await want(201, "POST", "/Users", user("there"))).id;
  const team = (await want(201, "POST", "/Groups", group("Bulk There"))).id;
  const body = await want(200, "POST", "/Bulk", request(operations(there, team), failOnErrors));
  for (const path of ["/Groups", "/Users"]) {
    const { Resources } = await want(200, "GET", `${path}?count=200`);
    for (const one of Resources.filter((r) => r.userName?.endsWith("@bulk.example") || r.displayName?.startsWith("Bulk"))) {
      await want(204, "DELETE", `${path}/${one.id}`);
    }
  }
  return new Messages.BulkResponse(body).Operations.map(result);
}

/** Memory is scimmy's users and groups, kept in memory and unique by name as ours are. */
class Memory {
  #stores = {};

  constructor() {
    for (const Type of [Resources.User, Resources.Group]) {
      const store = (this.#stores[Type.endpoint] = new Map());
      const key = Type === Resources.User ? "userName" : "displayName";
      const held = ({ id }) => {
        if (!store.has(id)) throw new Types.Error(404, null, `${id} not found`);
        return store.get(id);
      };
      Type.ingress((resource, data) => {
        if (resource.id) held(resource);
        for (const [id, other] of store) {
          if (id !== resource.id && other[key] === data[key]) throw new Types.Error(409, "uniqueness", "taken");
        }
        const one = { ...copy(data), id: resource.id ?? randomUUID() };
        store.set(one.id, one);
        return one;
      });
      Type.egress((resource) => (resource.id ? held(resource) : [...store.values()]));
      Type.degress((resource) => void (held(resource) && store.delete(resource.id)));
      Type.basepath("http://memory.example/scim/v2");
    }
  }

  async run(operations, failOnErrors) {
    for (const store of Object.values(this.#stores)) store.clear();
    const there = await new Resources.User().write(user("there"));
    const team = await new Resources.Group().write(group("Bulk There"));
    const answer = await new Messages.BulkRequest(copy(request(operations(there.id, team.id), failOnErrors))).apply([Resources.User, Resources.Group]);
    return copy(answer).Operations.map(result);
  }
}
