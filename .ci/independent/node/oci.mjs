// Oracle's client for identity domains, which are SCIM 2.0 under another path: the life of a person and a group, with
// the client's own reading and writing of every document in between.
import domains from "oci-identitydomains";
import { equal, refused, suite } from "./checks.mjs";
import { behind, key } from "./server.mjs";

const userURN = "urn:ietf:params:scim:schemas:core:2.0:User";
const enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const groupURN = "urn:ietf:params:scim:schemas:core:2.0:Group";
const patchURN = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const { Add, Remove, Replace } = domains.models.Operations.Op; // "ADD", "REMOVE", "REPLACE"

const person = {
  schemas: [userURN, enterpriseURN],
  externalId: "oci-1",
  userName: "olga@oci.example",
  name: { familyName: "Orlova", givenName: "Olga", honorificPrefix: "Dr." },
  displayName: "Olga Orlova",
  nickName: "Olly",
  title: "Tour Guide",
  locale: "en-US",
  timezone: "Europe/Berlin",
  active: true,
  emails: [{ value: "olga@oci.example", type: "work", primary: true }, { value: "olga@home.example", type: "home", primary: false }],
  phoneNumbers: [{ value: "+49 30 1234", type: "work" }],
  addresses: [{ type: "work", streetAddress: "1 Plaza", locality: "Berlin", postalCode: "10115", country: "DE" }],
  urnIetfParamsScimSchemasExtensionEnterprise2_0User: { employeeNumber: "701984", department: "Tours", costCenter: "4130" },
};

export default async function run() {
  const proxy = await behind("/admin/v1");
  const client = new domains.IdentityDomainsClient({}, { circuitBreaker: null });
  client.endpoint = proxy.url;
  try {
    await life(client);
  } finally {
    client.close();
    proxy.close();
  }
}

async function life(client) {
  const check = suite("oci-identitydomains");
  const with_ = { authorization: `Bearer ${key}` };
  const patch = async (userId, ...operations) =>
    (await client.patchUser({ ...with_, userId, patchOp: { schemas: [patchURN], operations } })).user;

  const user = await check("createUser creates a user with the enterprise extension", async () => {
    const { user, etag } = await client.createUser({ ...with_, user: person });
    const { id, meta, groups: _, ...rest } = user;
    equal(rest, person, "what came back");
    equal([meta.resourceType, meta.version], ["User", etag], "type, and version against the ETag");
    return id;
  });
  await check("createUser again is 409", () => refused(409, () => client.createUser({ ...with_, user: person })));
  await check("getUser reads it, and only what was asked for", async () => {
    equal((await client.getUser({ ...with_, userId: user })).user.title, "Tour Guide", "title");
    const few = (await client.getUser({ ...with_, userId: user, attributes: "userName,emails.value" })).user;
    equal(few.userName, person.userName, "userName");
    equal(few.emails.map((e) => Object.keys(e)), [["value"], ["value"]], "parts of the e-mail addresses");
    equal([few.title, few.name, few.active], [undefined, undefined, undefined], "what was not asked for");
  });
  await check("getUser of nobody is 404", () =>
    refused(404, () => client.getUser({ ...with_, userId: "00000000-0000-4000-8000-000000000000" })));
  for (const filter of [`userName eq "olga@OCI.example"`, `emails.value eq "olga@home.example"`, `externalId eq "oci-1"`]) {
    await check(`listUsers finds by ${filter}`, async () => {
      const { users } = await client.listUsers({ ...with_, filter, startIndex: 1, count: 10 });
      equal([users.totalResults, users.itemsPerPage, users.resources[0].id], [1, 1, user], "result");
    });
  }
  await check("putUser replaces it, and what is left out is gone", async () => {
    const { nickName: _, phoneNumbers: __, ...stated } = person;
    const { user: put } = await client.putUser({ ...with_, userId: user, user: { ...stated, title: "Guide" } });
    equal([put.id, put.title, put.nickName, put.phoneNumbers ?? []], [user, "Guide", undefined, []], "user");
  });
  await check("putUser with an old ETag is 412", async () => {
    await refused(412, () => client.putUser({ ...with_, userId: user, ifMatch: 'W/"0"', user: person }));
  });
  await check("patchUser adds, replaces and removes", async () => {
    const changed = await patch(
      user,
      { op: Replace, path: "displayName", value: "O. Orlova" },
      { op: Add, path: "phoneNumbers", value: [{ value: "+49 30 99", type: "mobile" }] },
      { op: Replace, path: `addresses[type eq "work"].locality`, value: "Potsdam" },
      { op: Replace, path: `${enterpriseURN}:department`, value: "Operations" },
      { op: Remove, path: `emails[type eq "home"]` },
      { op: Remove, path: "name.honorificPrefix" },
    );
    equal([changed.displayName, changed.addresses[0].locality, changed.addresses[0].country], ["O. Orlova", "Potsdam", "DE"], "replaced");
    equal(changed.phoneNumbers, [{ value: "+49 30 99", type: "mobile" }], "added");
    equal([changed.emails.length, changed.name], [1, { familyName: "Orlova", givenName: "Olga" }], "removed");
    const { department, employeeNumber } = changed.urnIetfParamsScimSchemasExtensionEnterprise2_0User;
    equal([department, employeeNumber], ["Operations", "701984"], "extension");
  });
  await check("patchUser deactivates and activates", async () => {
    equal((await patch(user, { op: Replace, path: "active", value: false })).active, false, "active");
    equal((await patch(user, { op: Replace, path: "active", value: true })).active, true, "active");
  });
  await check("patchUser of an unknown attribute is 400", () =>
    refused(400, () => patch(user, { op: Replace, path: "shoeSize", value: "42" })));

  const group = await check("createGroup creates a group with a member", async () => {
    const { group } = await client.createGroup({
      ...with_, group: { schemas: [groupURN], displayName: "OCI Admins", externalId: "oci-g", members: [{ value: user, type: "User" }] },
    });
    equal(group.members.map((m) => [m.value, m.type]), [[user, "User"]], "members");
    return group.id;
  });
  // Without "attributes" a PATCH of a group is answered by 204, as RFC 7644, section 3.5.2 allows and Entra ID expects;
  // this client reads a body from every answer.
  const patchGroup = async (...operations) =>
    (await client.patchGroup({ ...with_, groupId: group, attributes: "displayName,members", patchOp: { schemas: [patchURN], operations } })).group;
  const members = async () => ((await client.getGroup({ ...with_, groupId: group })).group.members ?? []).map((m) => m.value);
  await groupChanges(check, patchGroup, members, user);
  await check("listGroups finds it", async () => {
    const { groups } = await client.listGroups({ ...with_, filter: `displayName eq "OCI Staff"` });
    equal([groups.totalResults, groups.resources[0].id], [1, group], "result");
  });
  await check("putGroup replaces name and members", async () => {
    const { group: put } = await client.putGroup({ ...with_, groupId: group, group: { schemas: [groupURN], displayName: "OCI Nobody" } });
    equal([put.displayName, put.members ?? [], await members()], ["OCI Nobody", [], []], "group");
  });
  await check("listSchemas and getSchema read the schemas", async () => {
    const { schemas } = await client.listSchemas({ ...with_ });
    const ids = schemas.resources.map((s) => s.id);
    for (const id of [userURN, groupURN, enterpriseURN]) equal(ids.includes(id), true, `${id} is listed`);
    const { schema } = await client.getSchema({ ...with_, schemaId: userURN });
    equal(schema.attributes.find((a) => a.name === "userName").uniqueness, "server", "uniqueness of userName");
  });
  await check("searchUsers and searchGroups search, sorted and in part", async () => {
    const searchURN = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
    const { users } = await client.searchUsers({
      ...with_,
      userSearchRequest: {
        schemas: [searchURN], filter: `userName ew "@filter.example"`, attributes: ["userName"], sortBy: "userName",
        sortOrder: domains.models.SortOrder.Descending, startIndex: 2, count: 2,
      },
    });
    equal([users.totalResults, users.startIndex, users.itemsPerPage], [6, 2, 2], "page");
    equal(users.resources.map((u) => u.userName), ["elodie@filter.example", "dave@filter.example"], "users");
    equal(users.resources.map((u) => u.emails), [undefined, undefined], "what was not asked for");
    const { groups } = await client.searchGroups({
      ...with_, groupSearchRequest: { schemas: [searchURN], filter: `members.value eq "${user}"` },
    });
    equal(groups.resources ?? [], [], "groups of nobody");
  });
  await check("listUsers sorts", async () => {
    const { users } = await client.listUsers({
      ...with_, filter: `userName ew "@filter.example"`, sortBy: "name.familyName", sortOrder: domains.models.SortOrder.Ascending, attributes: "name.familyName",
    });
    equal(users.resources.map((u) => u.name.familyName[0]).join(""), "BDKMMO", "initials");
  });
  await check("getMe reads the owner of the key", async () => {
    const { me } = await client.getMe({ ...with_ });
    equal([me.userName, me.active], ["provisioner@independent.example", true], "user");
    equal((await client.getUser({ ...with_, userId: me.id })).user.meta.location, me.meta.location, "location");
  });
  await check("deleteGroup and deleteUser delete", async () => {
    await client.deleteGroup({ ...with_, groupId: group });
    await client.deleteUser({ ...with_, userId: user });
    await refused(404, () => client.getGroup({ ...with_, groupId: group }));
    await refused(404, () => client.getUser({ ...with_, userId: user }));
  });
}

async function groupChanges(check, patchGroup, members, user) {
  await check("patchGroup renames, removes the member and adds it again", async () => {
    equal((await patchGroup({ op: Replace, path: "displayName", value: "OCI Staff" })).displayName, "OCI Staff", "displayName");
    await patchGroup({ op: Remove, path: `members[value eq "${user}"]` });
    equal(await members(), [], "members");
    await patchGroup({ op: Add, path: "members", value: [{ value: user, type: "User" }] });
    equal(await members(), [user], "members");
  });
}
