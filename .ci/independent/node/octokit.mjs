// GitHub's own client for the SCIM endpoints of GitHub Enterprise Cloud: the life of a person and a group.
import { Octokit } from "@octokit/core";
import { enterpriseCloud } from "@octokit/plugin-enterprise-cloud";
import { equal, refused, suite } from "./checks.mjs";
import { behind, key } from "./server.mjs";

const userURN = "urn:ietf:params:scim:schemas:core:2.0:User";
const groupURN = "urn:ietf:params:scim:schemas:core:2.0:Group";
const patchURN = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

const person = {
  schemas: [userURN],
  externalId: "octo-1",
  active: true,
  userName: "mona@octo.example",
  name: { formatted: "Ms. Mona Lisa Octocat", familyName: "Octocat", givenName: "Mona", middleName: "Lisa" },
  displayName: "Mona Lisa",
  emails: [{ value: "mona@octo.example", type: "work", primary: true }],
  roles: [{ value: "viewer", primary: false }],
};

export default async function run() {
  const proxy = await behind("/scim/v2/enterprises/octo");
  const octokit = new (Octokit.plugin(enterpriseCloud))({ baseUrl: proxy.url, log: silent });
  octokit.hook.before("request", (options) => {
    options.headers.authorization = `Bearer ${key}`; // it would say "token", as GitHub wants
  });
  try {
    await enterprise(octokit.enterpriseAdmin);
    await organization(octokit.scim);
  } finally {
    proxy.close();
  }
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

async function enterprise(admin) {
  const check = suite("@octokit/plugin-enterprise-cloud");
  const at = { enterprise: "octo" };
  const patch = (scim_user_id, ...Operations) =>
    admin.updateAttributeForEnterpriseUser({ ...at, scim_user_id, schemas: [patchURN], Operations });
  const patchGroup = (scim_group_id, ...Operations) =>
    admin.updateAttributeForEnterpriseGroup({ ...at, scim_group_id, schemas: [patchURN], Operations });

  const user = await check("provisionEnterpriseUser creates a user", async () => {
    const { status, data, headers } = await admin.provisionEnterpriseUser({ ...at, ...person });
    equal(status, 201, "status");
    const { id, meta, groups, ...rest } = data;
    equal(rest, person, "what came back");
    equal(groups, [], "groups");
    equal([meta.resourceType, headers.location], ["User", meta.location], "type and location");
    return id;
  });
  await check("provisionEnterpriseUser again is 409", async () => {
    const error = await refused(409, () => admin.provisionEnterpriseUser({ ...at, ...person }));
    equal(error.response.data.scimType, "uniqueness", "scimType");
  });
  await check("getProvisioningInformationForEnterpriseUser reads it", async () => {
    const { data } = await admin.getProvisioningInformationForEnterpriseUser({ ...at, scim_user_id: user });
    equal([data.id, data.userName, data.active], [user, person.userName, true], "id, userName, active");
  });
  for (const filter of [`userName eq "MONA@octo.example"`, `externalId eq "octo-1"`, `id eq "${user}"`]) {
    await check(`listProvisionedIdentitiesEnterprise finds by ${filter.replace(user, "...")}`, async () => {
      const { data } = await admin.listProvisionedIdentitiesEnterprise({ ...at, filter });
      equal([data.totalResults, data.Resources[0].id], [1, user], "result");
    });
  }
  await check("setInformationForProvisionedEnterpriseUser replaces it by PUT", async () => {
    const { roles: _, ...stated } = person;
    const changed = { ...stated, displayName: "Mona L. Octocat" };
    const { status, data } = await admin.setInformationForProvisionedEnterpriseUser({ ...at, scim_user_id: user, ...changed });
    const { id, meta: _meta, groups: _groups, ...rest } = data;
    equal([status, id, rest], [200, user, changed], "status, id and user");
  });
  await check("updateAttributeForEnterpriseUser changes names and an e-mail address by PATCH", async () => {
    const { status, data } = await patch(
      user,
      { op: "replace", path: "name.familyName", value: "Cat" },
      { op: "replace", path: "displayName", value: "Mona Cat" },
      { op: "add", path: "emails", value: [{ value: "mona@home.example", type: "home" }] },
      { op: "replace", path: `emails[type eq "home"].value`, value: "m@home.example" },
    );
    equal([status, data.name.familyName, data.displayName, data.name.givenName], [200, "Cat", "Mona Cat", "Mona"], "names");
    equal(data.emails.map((e) => e.value).sort(), ["m@home.example", "mona@octo.example"], "e-mail addresses");
  });
  await check("updateAttributeForEnterpriseUser suspends and restores", async () => {
    equal((await patch(user, { op: "replace", path: "active", value: false })).data.active, false, "active");
    equal((await patch(user, { op: "replace", value: { active: true } })).data.active, true, "active");
  });
  const group = await check("provisionEnterpriseGroup creates a group with a member", async () => {
    const { status, data } = await admin.provisionEnterpriseGroup({
      ...at, schemas: [groupURN], externalId: "octo-g", displayName: "Octo Engineering",
      members: [{ value: user, displayName: "Mona" }],
    });
    equal([status, data.displayName, data.members.map((m) => m.value)], [201, "Octo Engineering", [user]], "group");
    return data.id;
  });
  await check("listProvisionedGroupsEnterprise finds the group, and leaves members out on request", async () => {
    const filter = `displayName eq "octo engineering"`;
    const { data } = await admin.listProvisionedGroupsEnterprise({ ...at, filter, excludedAttributes: "members" });
    equal([data.totalResults, data.Resources[0].id, data.Resources[0].members], [1, group, undefined], "result");
  });
  await check("updateAttributeForEnterpriseGroup takes the member out and puts it back", async () => {
    const path = `members[value eq "${user}"]`;
    const members = async () =>
      ((await admin.getProvisioningInformationForEnterpriseGroup({ ...at, scim_group_id: group })).data.members ?? []).map((m) => m.value);
    await patchGroup(group, { op: "remove", path });
    equal(await members(), [], "members");
    await patchGroup(group, { op: "add", path: "members", value: [{ value: user }] });
    equal(await members(), [user], "members");
  });
  await check("the user's groups show it", async () => {
    const { data } = await admin.getProvisioningInformationForEnterpriseUser({ ...at, scim_user_id: user });
    equal(data.groups.map((g) => [g.value, g.display]), [[group, "Octo Engineering"]], "groups");
  });
  await check("setInformationForProvisionedEnterpriseGroup renames and empties it by PUT", async () => {
    const { data } = await admin.setInformationForProvisionedEnterpriseGroup({
      ...at, scim_group_id: group, schemas: [groupURN], externalId: "octo-g", displayName: "Octo Ops", members: [],
    });
    equal([data.displayName, data.members ?? []], ["Octo Ops", []], "group");
  });
  await check("deleteScimGroupFromEnterprise and deleteUserFromEnterprise delete", async () => {
    equal((await admin.deleteScimGroupFromEnterprise({ ...at, scim_group_id: group })).status, 204, "group");
    equal((await admin.deleteUserFromEnterprise({ ...at, scim_user_id: user })).status, 204, "user");
    await refused(404, () => admin.getProvisioningInformationForEnterpriseUser({ ...at, scim_user_id: user }));
    await refused(404, () => admin.getProvisioningInformationForEnterpriseGroup({ ...at, scim_group_id: group }));
  });
}

// The older methods, for single organizations, send other bodies: no schemas, and PATCH without them.
async function organization(scim) {
  const check = suite("@octokit/plugin-enterprise-cloud (organizations)");
  const moved = await behind("/scim/v2/organizations/octo");
  const at = { org: "octo", baseUrl: moved.url };
  const { name, emails } = person;
  try {
    const user = await check("provisionAndInviteUser creates a user", async () => {
      const { status, data } = await scim.provisionAndInviteUser({ ...at, userName: person.userName, name, emails, active: true });
      equal([status, data.userName], [201, person.userName], "user");
      return data.id;
    });
    await check("updateAttributeForUser deactivates without a path", async () => {
      const { data } = await scim.updateAttributeForUser({ ...at, scim_user_id: user, Operations: [{ op: "replace", value: { active: false } }] });
      equal(data.active, false, "active");
    });
    await check("setInformationForProvisionedUser replaces", async () => {
      const { data } = await scim.setInformationForProvisionedUser({
        ...at, scim_user_id: user, schemas: [userURN], active: true, userName: person.userName, name: { ...name, givenName: "M" }, emails,
      });
      equal([data.name.givenName, data.active], ["M", true], "user");
    });
    await check("listProvisionedIdentities pages", async () => {
      const { data } = await scim.listProvisionedIdentities({ ...at, startIndex: 1, count: 1 });
      equal([data.itemsPerPage, data.Resources.length], [1, 1], "page");
    });
    await check("deleteUserFromOrg deletes", async () => {
      equal((await scim.deleteUserFromOrg({ ...at, scim_user_id: user })).status, 204, "status");
    });
  } finally {
    moved.close();
  }
}
