// Type-checks Block Kit with Slack's own types and the TypeScript compiler.
//
//   node blocks/check.mjs messages.json
//
// The file holds a list of {"name": …, "blocks": […]} for messages and
// {"name": …, "view": {…}} for modals and Home tabs. Each mistake is one line,
// "name: what tsc says"; with any the exit code is 1.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const folder = path.dirname(fileURLToPath(import.meta.url));
const items = JSON.parse(readFileSync(process.argv[2], 'utf8'));

// Each item becomes a source file that exists in memory only. Written out as a
// literal it is checked for members that the type does not have, too.
const sources = new Map();
items.forEach((item, i) => {
  const [type, value] = item.view ? ['View', item.view] : ['KnownBlock[]', item.blocks];
  const source = `import type { KnownBlock, View } from '@slack/types';\nexport const item: ${type} = ${JSON.stringify(value, null, 1)};\nexport type Used = KnownBlock | View;\n`;
  sources.set(path.join(folder, `item-${i}.ts`), { name: item.name ?? `item ${i}`, source });
});

const options = {
  strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16,
};
const host = ts.createCompilerHost(options);
const { getSourceFile, fileExists, readFile } = host;
host.fileExists = (file) => sources.has(path.normalize(file)) || fileExists.call(host, file);
host.readFile = (file) => sources.get(path.normalize(file))?.source ?? readFile.call(host, file);
host.getSourceFile = (file, ...rest) => {
  const own = sources.get(path.normalize(file));
  return own ? ts.createSourceFile(file, own.source, ts.ScriptTarget.ES2022) : getSourceFile.call(host, file, ...rest);
};

const program = ts.createProgram([...sources.keys()], options, host);
const mistakes = ts.getPreEmitDiagnostics(program);
for (const m of mistakes) {
  const name = sources.get(path.normalize(m.file?.fileName ?? ''))?.name ?? 'compiler';
  const at = m.file ? m.file.text.slice(m.start, m.start + 60).split('\n')[0] : '';
  console.log(`${name}: at ${at}: ${ts.flattenDiagnosticMessageText(m.messageText, ' ')}`);
}
process.exit(mistakes.length > 0 ? 1 : 0);
