// PATCH (RFC 7644, section 3.5.2) with two libraries as oracles: each applies the request to a copy of the resource that
// we served before, and the result is compared with what we serve afterwards.
import { scimPatch } from "scim-patch";
import SCIMMY from "scimmy";
import { assigned, equal, suite } from "./checks.mjs";
import { read } from "./documents.mjs";
import { send, want } from "./server.mjs";

const { Schemas, Messages } = SCIMMY;
const enterprise = Schemas.EnterpriseUser.id;
const core = Schemas.User.id;

const person = {
  schemas: [core, enterprise],
  externalId: "patched-1",
  userName: "pat@patch.example",
  name: { familyName: "Patch", givenName: "Pat", honorificPrefix: "Dr." },
  displayName: "Pat Patch",
  title: "Engineer",
  nickName: "Patty",
  active: true,
  emails: [
    { value: "pat@patch.example", type: "work", primary: true },
    { value: "pat@home.example", type: "home", display: "at home" },
  ],
  phoneNumbers: [{ value: "+1 555 1", type: "work" }, { value: "+1 555 2", type: "mobile" }],
  addresses: [{ type: "work", locality: "Berlin", country: "DE", postalCode: "10115" }, { type: "home", locality: "Potsdam", country: "DE" }],
  entitlements: [{ value: "one" }, { value: "two" }],
  [enterprise]: { employeeNumber: "1", department: "Old", manager: { value: "M-1" } },
};

const op = (op, path, value) => ({ op, ...(path !== undefined && { path }), ...(value !== undefined && { value }) });

// What RFC 7644 says, where a library does something else.
const unchanged = `section 3.5.2.3: "Sub-attributes that are not specified in the "value" parameter are left unchanged"`;
const again = `section 3.5.2.1: "If the target location already contains the value specified, no changes SHOULD be made"`;
const all = `section 3.5.2.3: "the matching sub-attribute of all matching records is replaced"; scimmy throws where there are several`;
const records = `section 3.5.2.3: "all matching record values SHALL be replaced"; scim-patch merges`;
const kind = "section 3.5.2.3 has the record replaced; we keep its type and primary where they are not stated, by which identity providers select it";
const made = `section 3.5.2.1: "If the target location does not exist, the attribute and value are added"; Entra ID adds values so`;
const replaced = `section 3.5.2.3: without a filter "the attribute and all values are replaced"; scimmy adds`;
const urns = "section 3.10: names may have their schema's URN in front; the library does not find them";
const names = `RFC 7643, section 2.1: "Attribute names are case insensitive"`;
const values = "RFC 7643, section 2.2: type is not case exact, so values are compared without case";
const partial = "no section has a list of values in remove, which identity providers send; the library wants each listed with all its members";
const primary = `section 3.5.2: a value that becomes primary "SHALL cause the server to automatically set "primary" to "false" for any other values"`;

// Each: what it is, its operations, and why a library comes to another result.
const users = [
  ["replace a simple attribute", [op("replace", "displayName", "P. Patch")]],
  ["replace one that is not there", [op("replace", "locale", "de-DE")]],
  ["add a simple attribute that is there", [op("add", "title", "Director")]],
  ["add one that is not there", [op("add", "userType", "Employee")]],
  ["remove a simple attribute", [op("remove", "title")]],
  ["remove one that is not there", [op("remove", "locale")]],
  ["replace a sub-attribute", [op("replace", "name.familyName", "Patched")]],
  ["add a sub-attribute that is not there", [op("add", "name.middleName", "Q")]],
  ["remove a sub-attribute", [op("remove", "name.honorificPrefix")]],
  ["replace a complex attribute in part", [op("replace", "name", { givenName: "Patricia" })], { scimmy: unchanged }],
  ["add to a complex attribute", [op("add", "name", { honorificSuffix: "III" })]],
  ["add an element", [op("add", "emails", [{ value: "pat@other.example", type: "other" }])]],
  ["add two elements", [op("add", "phoneNumbers", [{ value: "+1 555 3", type: "fax" }, { value: "+1 555 4", type: "pager" }])]],
  ["add an element that is not in an array", [op("add", "entitlements", { value: "three" })]],
  ["add an element that is there already", [op("add", "phoneNumbers", [{ value: "+1 555 1", type: "work" }])], { scimmy: again }],
  ["add to a multi-valued attribute that is not there", [op("add", "ims", [{ value: "pat.xmpp", type: "xmpp" }])]],
  ["replace a multi-valued attribute", [op("replace", "phoneNumbers", [{ value: "+1 555 9", type: "home" }])]],
  ["replace a multi-valued attribute that is not there", [op("replace", "ims", [{ value: "pat.icq", type: "icq" }])]],
  ["remove a multi-valued attribute", [op("remove", "phoneNumbers")]],
  ["remove the elements that a filter selects", [op("remove", `phoneNumbers[type eq "mobile"]`)]],
  ["remove the last element that there is", [op("remove", `phoneNumbers[type eq "mobile"]`), op("remove", `phoneNumbers[type eq "work"]`)]],
  ["remove by a filter that selects nothing", [op("remove", `phoneNumbers[type eq "pager"]`)]],
  ["remove by a filter with and", [op("remove", `addresses[type eq "home" and locality eq "Potsdam"]`)]],
  ["remove by a filter with or", [op("remove", `entitlements[value eq "one" or value eq "two"]`)]],
  ["remove by a filter with not", [op("remove", `addresses[not (type eq "work")]`)]],
  ["replace a sub-attribute of a selected element", [op("replace", `emails[type eq "home"].value`, "p@home.example")]],
  ["replace a sub-attribute of all selected elements", [op("replace", `addresses[country eq "DE"].country`, "AT")], { scimmy: all }],
  ["add a sub-attribute to a selected element", [op("add", `addresses[type eq "home"].region`, "BB")]],
  ["remove a sub-attribute of a selected element", [op("remove", `emails[type eq "home"].display`)]],
  ["remove a sub-attribute of all elements", [op("remove", "addresses.postalCode")], { scimmy: all }],
  ["replace a selected element", [op("replace", `addresses[type eq "work"]`, { type: "work", locality: "Wien", country: "AT", postalCode: "1010" })]],
  ["replace a selected element in part", [op("replace", `addresses[type eq "work"]`, { locality: "Wien" })], { "scim-patch": records, scimmy: kind }],
  ["replace a sub-attribute of an element that is to be made", [op("add", `phoneNumbers[type eq "fax"].value`, "+1 555 7")], { scimmy: made }],
  ["without a path, replace", [op("replace", undefined, { displayName: "No Path", title: "None" })]],
  ["without a path, add", [op("add", undefined, { nickName: "Np", emails: [{ value: "np@other.example", type: "other" }] })]],
  ["without a path, replace a multi-valued attribute", [op("replace", undefined, { entitlements: [{ value: "only" }] })], { scimmy: replaced }],
  ["without a path, replace part of a complex attribute", [op("replace", undefined, { name: { familyName: "Only" } })], { "scim-patch": unchanged }],
  ["without a path, an extension", [op("replace", undefined, { [enterprise]: { department: "New" } })], { "scim-patch": urns }],
  ["an attribute of an extension, replaced", [op("replace", `${enterprise}:department`, "New")]],
  ["an attribute of an extension, added", [op("add", `${enterprise}:costCenter`, "4130")]],
  ["an attribute of an extension, removed", [op("remove", `${enterprise}:employeeNumber`)]],
  ["a sub-attribute of an extension", [op("replace", `${enterprise}:manager.value`, "M-1")], { scimmy: urns }],
  ["a complex attribute of an extension, removed", [op("remove", `${enterprise}:manager`)]],
  ["a name with the URN of the core schema", [op("replace", `${core}:displayName`, "By URN")], { scimmy: urns }],
  ["a sub-attribute with the URN of the core schema", [op("replace", `${core}:name.givenName`, "By URN")], { scimmy: urns }],
  ["deactivate", [op("replace", "active", false)]],
  ["operations that build on each other", [op("add", "ims", [{ value: "a", type: "aim" }]), op("replace", `ims[type eq "aim"].value`, "b"), op("add", "ims", [{ value: "c", type: "icq" }])]],
  ["add and remove the same", [op("add", "locale", "de-DE"), op("remove", "locale")]],
  ["op in another letter case", [op("Replace", "displayName", "Case")]],
  ["a name in another letter case", [op("replace", "DISPLAYNAME", "Case")], { "scim-patch": names, scimmy: names }],
  ["a filter in another letter case", [op("remove", `phoneNumbers[TYPE EQ "MOBILE"]`)], { "scim-patch": values, scimmy: values }],
  ["a new primary element ends the old one", [op("add", "phoneNumbers", [{ value: "+1 1", type: "fax", primary: true }]), op("add", "phoneNumbers", [{ value: "+1 2", type: "pager", primary: true }])], { "scim-patch": primary, scimmy: primary }],
];

const refusals = [
  ["remove without a path", "noTarget", [op("remove")]],
  ["replace where a filter selects nothing", "noTarget", [op("replace", `addresses[country eq "FR"].locality`, "Paris")]],
  ["an unknown attribute", "invalidPath", [op("replace", "shoeSize", "42")]],
  ["an unknown sub-attribute", "invalidPath", [op("replace", "name.shoeSize", "42")]],
  ["a path that cannot be read", "invalidPath", [op("replace", `emails[type eq`, "42")]],
  ["a read-only attribute", "mutability", [op("replace", "id", "42")]],
  ["a required attribute removed", "mutability", [op("remove", "userName")]],
  ["an unknown op", "invalidSyntax", [op("move", "title", "x")]],
  ["add without a value", "invalidValue", [op("add", "title")]],
  ["add without a path of something that is no object", "invalidValue", [op("add", undefined, "x")]],
];

// Of members a library keeps what the request said and we the name and address as well: ids are compared.
const groups = [
  ["rename a group", () => [op("replace", "displayName", "Patch Renamed")]],
  ["rename a group without a path", () => [op("replace", undefined, { displayName: "Patch Renamed" })]],
  ["give a group another externalId", () => [op("replace", "externalId", "g-patched")]],
  ["remove a group's externalId", () => [op("remove", "externalId")]],
  ["add a member", ([, b]) => [op("add", "members", [{ value: b }])]],
  ["add two members in two operations", ([, b, c]) => [op("add", "members", [{ value: b }]), op("add", "members", [{ value: c }])]],
  ["add members without a path", ([, b]) => [op("add", undefined, { members: [{ value: b }] })]],
  ["remove a member by a filter", ([a]) => [op("remove", `members[value eq "${a}"]`)]],
  ["remove somebody who is no member", ([, , c]) => [op("remove", `members[value eq "${c}"]`)]],
  ["remove all members", () => [op("remove", "members")]],
  ["replace all members", ([, b, c]) => [op("replace", "members", [{ value: b }, { value: c }])]],
  ["remove and add members", ([a, b]) => [op("remove", `members[value eq "${a}"]`), op("add", "members", [{ value: b }])]],
  ["remove by a list of values", ([a]) => [op("remove", "members", [{ value: a }])], { "scim-patch": partial }],
];

export default async function run() {
  const [patchLibrary, scimmy, own] = [suite("scim-patch"), suite("scimmy PatchOp"), suite("written here")];
  await plain(patchLibrary, scimmy, own);
  await groupTable(patchLibrary, scimmy);
  await refused(own);
}

const body = (Operations) => ({ schemas: [Messages.PatchOp.id], Operations });
const copy = (value) => JSON.parse(JSON.stringify(value));

/** compared is what a PATCH is about: neither what we keep of every change, nor the order of elements, nor "false". */
function compared({ meta: _, groups: __, schemas: ___, ...rest }) {
  return sorted(assigned(rest));
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((k) => [k, sorted(value[k])]));
}

async function outcome(apply, part = compared) {
  try {
    return part(await apply());
  } catch (error) {
    return { theirError: error.message };
  }
}

function group({ id, displayName, externalId, members = [] }) {
  return sorted(assigned({ id, displayName, externalId, members: members.map((m) => m.value) }));
}

async function groupTable(patchLibrary, scimmy) {
  const ids = [];
  for (const name of ["a", "b", "c"]) {
    const userName = `${name}@patch.example`;
    ids.push((await want(201, "POST", "/Users", { ...person, externalId: undefined, userName, emails: [{ value: userName, primary: true }] })).id);
  }
  for (const [what, operations, known = {}] of groups) {
    const request = body(operations(ids));
    const { id } = await want(201, "POST", "/Groups", { displayName: "Patch Group", externalId: "g-1", members: [{ value: ids[0] }] });
    const before = await want(200, "GET", `/Groups/${id}`);
    const answer = await send("PATCH", `/Groups/${id}`, request);
    const ours = answer.status === 204 ? group(await want(200, "GET", `/Groups/${id}`)) : answer;
    patchLibrary.agree(what, ours, await outcome(() => scimPatch(copy(before), copy(request.Operations)), group), known["scim-patch"]);
    scimmy.agree(what, ours, await outcome(async () => {
      const target = new Schemas.Group(before, "out");
      return read(Schemas.Group, (await new Messages.PatchOp(copy(request)).apply(target)) ?? target);
    }, group), known.scimmy);
    await want(204, "DELETE", `/Groups/${id}`);
  }
  for (const id of ids) await want(204, "DELETE", `/Users/${id}`);
}

async function plain(patchLibrary, scimmy, own) {
  for (const [what, operations, known = {}] of users) {
    const before = await want(201, "POST", "/Users", person);
    const answer = await send("PATCH", `/Users/${before.id}`, body(operations));
    const ours = answer.status === 200 ? compared(answer.body) : answer.body;
    if (answer.status === 200) {
      await own(`PATCH, ${what}: the answer is the resource`, async () => equal(answer.body, await want(200, "GET", `/Users/${before.id}`), "answer"));
    }
    patchLibrary.agree(what, ours, await outcome(() => scimPatch(copy(before), copy(operations))), known["scim-patch"]);
    scimmy.agree(what, ours, await outcome(async () => {
      const target = new Schemas.User(before, "out");
      return read(Schemas.User, (await new Messages.PatchOp(copy(body(operations))).apply(target)) ?? target);
    }), known.scimmy);
    await want(200, "PUT", `/Users/${before.id}`, { ...person, active: true });
    await want(204, "DELETE", `/Users/${before.id}`);
  }
}

async function refused(check) {
  const { id, meta, groups: _, ...before } = await want(201, "POST", "/Users", person);
  for (const [what, scimType, operations] of refusals) {
    await check(`PATCH, ${what}: refused, and nothing changed`, async () => {
      const answer = await send("PATCH", `/Users/${id}`, body([op("replace", "nickName", "changed"), ...operations]));
      equal([answer.status, answer.body.scimType], [400, scimType], `our answer (${answer.body.detail})`);
      const now = await want(200, "GET", `/Users/${id}`);
      equal([now.meta, now.nickName], [meta, before.nickName], "meta and nickName, which an operation before changed");
    });
  }
  await want(204, "DELETE", `/Users/${id}`);
}
