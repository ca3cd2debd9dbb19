// Lets clients of others read the fake identity providers: Okta's and Microsoft's own, from npm. The fakes serve
// FAKE_USERS people in FAKE_GROUPS groups with FAKE_MEMBERSHIPS memberships; see ../run.
import { ConfidentialClientApplication } from "@azure/msal-node";
import graph from "@microsoft/microsoft-graph-client";
import okta from "@okta/okta-sdk-nodejs";
import { equal, finish, refused, suite } from "./checks.mjs";
import { undescribed } from "./types.mjs";

const env = process.env;
const [users, groups, memberships] = [env.FAKE_USERS, env.FAKE_GROUPS, env.FAKE_MEMBERSHIPS].map(Number);

/** all reads a collection of Okta's client to its end. */
async function all(collection) {
  const items = [];
  await (await collection).each((item) => void items.push(item));
  return items;
}

const distinct = (items) => new Set(items.map((item) => item.id)).size;

async function readOkta() {
  const check = suite("@okta/okta-sdk-nodejs");
  const client = new okta.Client({ orgUrl: env.OKTA_URL, token: env.OKTA_TOKEN, cacheMiddleware: null });
  const people = await check("lists users, page by page", async () => {
    const items = await all(client.userApi.listUsers({ limit: 100 }));
    equal([items.length, distinct(items)], [users, users], "users");
    for (const user of items) if (!user.profile.login || !(user.created instanceof Date) || user.status !== "ACTIVE") throw new Error(`odd user ${user.id}`);
    return items;
  });
  await check("filters users by status and time", async () => {
    equal((await all(client.userApi.listUsers({ filter: 'status eq "SUSPENDED"' }))).length, 0, "suspended users");
    equal((await all(client.userApi.listUsers({ filter: 'lastUpdated gt "2000-01-01T00:00:00.000Z"', limit: 200 }))).length, users, "users updated since");
    equal((await all(client.userApi.listUsers({ filter: 'lastUpdated gt "2200-01-01T00:00:00.000Z"' }))).length, 0, "users updated in the future");
  });
  await check("reads a user by id and by login", async () => {
    const { id, profile } = people[7];
    for (const userId of [id, profile.login]) equal((await client.userApi.getUser({ userId })).profile.login, profile.login);
  });
  await check("gets a 404 with Okta's code", async () => {
    const error = await refused(404, () => client.userApi.getUser({ userId: "00u00000000000000000" }));
    equal(error.errorCode, "E0000007", "error code");
  });
  const teams = await check("lists groups, and their members page by page", async () => {
    const items = await all(client.groupApi.listGroups({ limit: 5 }));
    equal(distinct(items), groups, "groups");
    let count = 0;
    for (const { id } of items) count += distinct(await all(client.groupApi.listGroupUsers({ groupId: id, limit: 20 })));
    equal(count, memberships, "memberships");
    return items;
  });
  await check("lists an application's users and groups", async () => {
    equal(distinct(await all(client.applicationApi.listApplicationUsers({ appId: env.OKTA_APP, limit: 50 }))), users, "users assigned");
    equal((await all(client.applicationApi.listApplicationGroupAssignments({ appId: env.OKTA_APP, limit: 20 }))).length, teams.length, "groups assigned");
  });
  await check("reads the system log of a time that is over", async () => {
    const events = await all(client.systemLogApi.listLogEvents({ since: "2000-01-01T00:00:00.000Z", until: new Date().toISOString(), limit: 10 }));
    if (events.length < groups) throw new Error(`${events.length} events, and ${groups} groups were assigned`);
    for (const event of events) if (!(event.published instanceof Date) || !event.eventType || !event.uuid) throw new Error(`odd event ${event.uuid}`);
  });
  await check("is refused with another token", () =>
    refused(401, () => all(new okta.Client({ orgUrl: env.OKTA_URL, token: "another", cacheMiddleware: null }).userApi.listUsers({}))));
}

async function readGraph() {
  const checkToken = suite("@azure/msal-node");
  const authority = `${env.ENTRA_AUTHORITY}/${env.ENTRA_TENANT}`;
  const application = (clientSecret) => new ConfidentialClientApplication({
    auth: { clientId: env.ENTRA_CLIENT, clientSecret, authority, knownAuthorities: [new URL(authority).host] },
  });
  const scopes = [`${new URL(env.ENTRA_GRAPH).origin}/.default`];
  const token = await checkToken("gets a token for the application", async () => {
    const { accessToken, expiresOn } = await application(env.ENTRA_SECRET).acquireTokenByClientCredential({ scopes });
    if (!(expiresOn > new Date())) throw new Error(`the token expires ${expiresOn}`);
    return accessToken;
  });
  await checkToken("is told what is wrong with another secret", async () => {
    const error = await application("another").acquireTokenByClientCredential({ scopes }).catch((error) => error);
    if (!/AADSTS7000215/.test(error?.errorMessage)) throw new Error(`got ${error}`);
  });

  const check = suite("@microsoft/microsoft-graph-client");
  const client = graph.Client.init({
    baseUrl: new URL(env.ENTRA_GRAPH).origin, customHosts: new Set([new URL(env.ENTRA_GRAPH).hostname]),
    authProvider: (done) => done(null, token),
  });
  /** walk reads a list to its end and returns its items and the delta link. */
  const walk = async (request) => {
    const items = [];
    const pages = new graph.PageIterator(client, await request.get(), (item) => items.push(item) > 0);
    await pages.iterate();
    return { items, delta: pages.getDeltaLink() };
  };
  const seen = { User: [], Group: [], AppRoleAssignment: [] };
  await check("lists users, page by page", async () => {
    const { items } = await walk(client.api("/users").top(100).select(properties));
    equal([items.length, distinct(items)], [users, users], "users");
    seen.User.push(...items);
  });
  await check("lists users by delta, and then nothing new", async () => {
    const { items, delta } = await walk(client.api("/users/delta").select(properties));
    equal(distinct(items), users, "users");
    seen.User.push(...items);
    const again = await walk(client.api(delta));
    equal([again.items.length, Boolean(again.delta)], [0, true], "users changed, and a delta link");
  });
  await check("lists groups with their members by delta", async () => {
    const { items, delta } = await walk(client.api("/groups/delta").select("displayName,members"));
    const members = items.flatMap((group) => (group["members@delta"] ?? []).map((member) => `${group.id} ${member.id}`));
    equal([distinct(items), new Set(members).size], [groups, memberships], "groups and memberships");
    equal((await walk(client.api(delta))).items.length, 0, "groups changed");
    seen.Group.push(...items);
  });
  await check("lists one group's members", async () => {
    const [group] = seen.Group;
    const { items } = await walk(client.api(`/groups/${group.id}/members`).top(20));
    const wanted = seen.Group.filter(({ id }) => id === group.id).flatMap((part) => part["members@delta"] ?? []);
    equal(distinct(items), distinct(wanted), "members");
    seen.User.push(...items);
  });
  await check("reads a user by id and by name", async () => {
    const { id, userPrincipalName } = seen.User[7];
    for (const key of [id, userPrincipalName]) equal((await client.api(`/users/${key}`).get()).id, id);
  });
  await check("gets a 404 with Graph's code", async () => {
    const error = await refused(404, () => client.api("/users/00000000-0000-0000-0000-000000000000").get());
    equal(error.code, "Request_ResourceNotFound", "error code");
  });
  await check("lists who is assigned to the application", async () => {
    const { items } = await walk(client.api(`/servicePrincipals/${env.ENTRA_SP}/appRoleAssignedTo`));
    equal(items.filter(({ principalType }) => principalType === "Group").length, groups, "groups assigned");
    seen.AppRoleAssignment.push(...items);
  });
  const types = suite("@microsoft/microsoft-graph-types");
  for (const [name, items] of Object.entries(seen)) {
    await types(`${items.length} answers are of the type ${name}`, async () => {
      if (items.length === 0) throw new Error("there are none");
      const wrong = undescribed(name, items);
      if (wrong.length > 0) throw new Error(wrong.slice(0, 5).join("; "));
    });
  }
  await types("what is no user is none", async () => {
    for (const odd of [{ userPrincipleName: "x" }, { accountEnabled: "true" }]) {
      if (undescribed("User", [{ id: "x", ...odd }]).length === 0) throw new Error(`${JSON.stringify(odd)} passes`);
    }
  });
}

const properties = "id,userPrincipalName,displayName,givenName,surname,mail,otherMails,proxyAddresses,accountEnabled,userType,jobTitle," +
  "department,companyName,employeeId,employeeType,employeeOrgData,mobilePhone,businessPhones,preferredLanguage,mailNickname," +
  "streetAddress,city,state,postalCode,country";

await readOkta();
await readGraph();
process.exit(finish("npm, identity providers"));
