// Filters (RFC 7644, section 3.4.2.2) with three libraries as oracles: each answers which of the resources that we serve
// pass the filter, and whether it is one at all. filters.json holds the table; a Go library answers the same.
import { readFileSync } from "node:fs";
import { filter as tester, parse } from "scim2-parse-filter";
import { compileFilter } from "scim-query-filter-parser";
import SCIMMY from "scimmy";
import { equal, suite } from "./checks.mjs";
import { tables } from "./seed.mjs";
import { query, send, want } from "./server.mjs";

const table = JSON.parse(readFileSync(new URL("filters.json", tables), "utf8"));

const libraries = {
  "scimmy Filter": (text, resources) => new SCIMMY.Types.Filter(text).match(resources),
  "scim2-parse-filter": (text, resources) => resources.filter(tester(parse(text))),
  "scim-query-filter-parser": (text, resources) => resources.filter(compileFilter(text)),
};

export default async function run() {
  const checks = Object.fromEntries(Object.keys(libraries).map((name) => [name, suite(name)]));
  const everyone = await all("/Users");
  const groups = await all("/Groups");
  const ids = Object.fromEntries([...everyone, ...groups].map((r) => [r.userName?.split("@")[0] ?? r.displayName, r.id]));
  for (const [path, name, resources, rows] of [
    ["/Users", "userName", everyone, table.Users],
    ["/Groups", "displayName", groups, table.Groups],
  ]) {
    for (const { filter, known = {} } of rows) {
      const text = filter.replace(/\{([^}]*)\}/, (_, who) => ids[who]);
      const answer = await send("GET", query(path, { filter: text, count: 200 }));
      const ours = answer.status === 200 ? answer.body.Resources.map((r) => r[name]).sort() : answer.body;
      for (const [library, pass] of Object.entries(libraries)) {
        checks[library].agree(filter, ours, outcome(() => pass(text, resources).map((r) => r[name]).sort()), table.reasons[known[library]]);
      }
    }
  }
  await malformed(checks, everyone);
}

async function all(path) {
  const { Resources, totalResults } = await want(200, "GET", query(path, { count: 200 }));
  equal(Resources.length, totalResults, `all of ${path}`);
  return Resources;
}

function outcome(answer) {
  try {
    return answer();
  } catch (error) {
    return { theirError: error.message };
  }
}

async function malformed(checks, everyone) {
  for (const { filter, known = {} } of [...table.malformed, ...table.unsuited]) {
    const answer = await send("GET", query("/Users", { filter }));
    const ours = [answer.status, answer.body.scimType];
    const refusal = [400, "invalidFilter"];
    for (const [library, pass] of Object.entries(libraries)) {
      const theirs = outcome(() => pass(filter, everyone)).theirError ? refusal : "no error";
      checks[library].agree(`${filter} is refused`, ours, theirs, table.reasons[known[library]]);
    }
  }
}
