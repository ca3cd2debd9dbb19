// Asks the TypeScript compiler whether objects are of Microsoft's types: as literals, where a property that the type
// does not have is an error too.
import ts from "typescript";
import { fileURLToPath } from "node:url";

/** undescribed returns what the compiler says against the objects being of the type, without OData's annotations. */
export function undescribed(type, objects) {
  const name = fileURLToPath(new URL("answers.ts", import.meta.url));
  const literals = objects.map((object) => JSON.stringify(described(object), null, 1));
  const source = `import type { ${type} } from "@microsoft/microsoft-graph-types";\nexport const answers: ${type}[] = [${[...new Set(literals)].join(",\n")}];\n`;
  const options = { strict: true, noEmit: true, skipLibCheck: true, types: [], moduleResolution: ts.ModuleResolutionKind.Node10, target: ts.ScriptTarget.ES2020 };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (file, ...rest) => (file === name ? ts.createSourceFile(file, source, options.target) : read(file, ...rest));
  host.fileExists = ((exists) => (file) => file === name || exists(file))(host.fileExists.bind(host));
  return ts.getPreEmitDiagnostics(ts.createProgram([name], options, host)).map((d) => ts.flattenDiagnosticMessageText(d.messageText, " "));
}

/** described leaves out annotations, which the types do not have. */
function described(value) {
  if (Array.isArray(value)) return value.map(described);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => !name.includes("@")).map(([name, v]) => [name, described(v)]));
}
