import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

// The renderer's style sheet hangs everything on an id that each rendered message
// has, though an id may stand in a document once. The messages have a class of the
// same name.
function classesForIds(): Plugin {
  return {
    name: "classes-for-ids",
    enforce: "pre",
    transform(code, id) {
      if (id.includes("slack-blocks-to-jsx/dist/style.css")) {
        return code.replaceAll("#slack_blocks_to_jsx", ".slack_blocks_to_jsx");
      }
    },
  };
}

// What is embedded makes the command larger; compressed, it is a quarter.
function compressed(): Plugin {
  return {
    name: "compressed",
    closeBundle() {
      const folder = this.environment.config.build.outDir;
      for (const name of readdirSync(folder).filter((n) => n !== "index.html" && !n.endsWith(".gz"))) {
        const file = path.resolve(folder, name);
        writeFileSync(file + ".gz", gzipSync(readFileSync(file), { level: 9 }));
        rmSync(file);
      }
    },
  };
}

// Names without hashes: the files are committed, and Go serves them uncached.
export default defineConfig({
  base: "/",
  plugins: [classesForIds(), compressed()],
  resolve: { alias: { "node-emoji": fileURLToPath(new URL("src/emoji.ts", import.meta.url)) } },
  build: {
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    license: { fileName: "licences.md" },
    rolldownOptions: {
      output: {
        entryFileNames: "page.js",
        assetFileNames: "page[extname]",
        codeSplitting: false,
      },
    },
  },
  server: { proxy: { "/_sandbox": "http://127.0.0.1:8700" } },
});
