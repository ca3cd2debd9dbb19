// Runs everything that came from npm against the server at SCIM_URL with the key SCIM_KEY.
import bulk from "./bulk.mjs";
import { finish } from "./checks.mjs";
import documents from "./documents.mjs";
import filters from "./filters.mjs";
import lists from "./lists.mjs";
import oci from "./oci.mjs";
import octokit from "./octokit.mjs";
import patches from "./patches.mjs";
import { plant } from "./seed.mjs";

await plant();
for (const run of [octokit, oci, documents, patches, filters, lists, bulk]) await run();
process.exit(finish());
