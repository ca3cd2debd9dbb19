// Runs checks, one after the other, and prints a line for each.
import { isDeepStrictEqual, inspect } from "node:util";

const counts = { PASS: 0, FAIL: 0, KNOWN: 0 };

function report(verdict, suite, what, why = "") {
  counts[verdict]++;
  const reason = why && `: ${String(why).replace(/\s*\n\s*/g, " ").slice(0, 600)}`;
  console.log(`${verdict.padEnd(5)} ${suite}: ${what}${reason}`);
}

/** suite returns a function that runs one check and returns what the check returned, or undefined where it failed. */
export function suite(name) {
  const check = async (what, body) => {
    try {
      const result = await body();
      report("PASS", name, what);
      return result;
    } catch (error) {
      report("FAIL", name, what, error?.message ?? inspect(error));
      return undefined;
    }
  };
  /**
   * agree compares what we answer with what a library makes of the same input. Where known says why the two differ,
   * they have to: a difference that is gone is a failure as well, so that the list stays true.
   */
  check.agree = (what, ours, theirs, known) => {
    const same = isDeepStrictEqual(ours, theirs);
    if (same && !known) report("PASS", name, what);
    else if (same) report("FAIL", name, what, `agrees, but is listed as a difference: ${known}`);
    else if (known) report("KNOWN", name, what, known);
    else report("FAIL", name, what, apart(ours, theirs).join("; "));
  };
  return check;
}

/** apart names what differs, by the members of objects where both are objects. */
function apart(ours, theirs) {
  if (theirs?.theirError) return [`they fail: ${theirs.theirError}`];
  if (!isObject(ours) || !isObject(theirs)) return [`idpsync ${brief(ours)}, they ${brief(theirs)}`];
  return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])]
    .filter((k) => !isDeepStrictEqual(ours[k], theirs[k]))
    .map((k) => `${k}: idpsync ${brief(ours[k])}, they ${brief(theirs[k])}`);
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export const brief = (value) => inspect(value, { depth: 8, breakLength: Infinity, compact: true, maxStringLength: 80 });

export function equal(got, want, what = "value") {
  if (!isDeepStrictEqual(plain(got), plain(want))) throw new Error(`${what} is ${brief(got)}, want ${brief(want)}`);
}

/** plain returns a value without the members that are undefined, which client libraries leave in their objects. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined).map(([k, v]) => [k, plain(v)]));
}

/** assigned leaves out what is empty, which is the same as not being there (RFC 7643, section 2.5). */
export function assigned(value) {
  if (Array.isArray(value)) return value.map(assigned);
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).filter(([, v]) => v !== undefined && v !== null && !(Array.isArray(v) && v.length === 0));
  return Object.fromEntries(members.map(([k, v]) => [k, assigned(v)]));
}

/** refused runs body, which has to fail with that HTTP status, and returns the error. */
export async function refused(status, body) {
  let result;
  try {
    result = await body();
  } catch (error) {
    equal(error.status ?? error.statusCode, status, `status of the refusal (${error.message})`);
    return error;
  }
  throw new Error(`want status ${status}, got ${brief(result)}`);
}

/** finish prints the sums and returns the exit status. */
export function finish(name = "npm") {
  console.log(`SUM   ${name}: ${counts.PASS} passed, ${counts.KNOWN} known differences, ${counts.FAIL} failed`);
  return counts.FAIL === 0 && counts.PASS > 0 ? 0 : 1;
}
