// The people and groups that filters, sorting and documents are tried on; they stay.
import { readFileSync } from "node:fs";
import { equal, suite } from "./checks.mjs";
import { want } from "./server.mjs";

export const tables = new URL("../", import.meta.url);
const seed = JSON.parse(readFileSync(new URL("seed.json", tables), "utf8"));

/** plant creates them; what they are for is said by the checks that find them. */
export async function plant() {
  const check = suite("seed");
  await check("users and groups are created as stated", async () => {
    const ids = {};
    for (const stated of seed.users) {
      const { id, meta: _, groups: __, active, ...rest } = await want(201, "POST", "/Users", stated);
      const { active: wanted = true, ...others } = stated;
      equal([active, rest], [wanted, others], stated.userName);
      ids[stated.userName] = id;
    }
    for (const { members, ...stated } of seed.groups) {
      const group = { schemas: ["urn:ietf:params:scim:schemas:core:2.0:Group"], ...stated, members: members.map((m) => ({ value: ids[m] })) };
      const created = await want(201, "POST", "/Groups", group);
      ids[stated.displayName] = created.id;
      equal(new Set((created.members ?? []).map((m) => m.value)), new Set(members.map((m) => ids[m])), `members of ${stated.displayName}`);
    }
  });
}
