// Builds minicnn/inspect/page/explain.html: script and style in one file that loads nothing. `npm ci && npm run build`
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const sources = ["build.mjs", "package.json", ...readdirSync(new URL("src/", here)).sort().map((name) => `src/${name}`)];
const hash = createHash("sha256");
for (const name of sources) hash.update(`${name}\0`).update(readFileSync(new URL(name, here))).update("\0");

const result = await build({
  entryPoints: [new URL("src/main.jsx", here).pathname],
  bundle: true, minify: true, write: false, format: "iife", target: "es2022", charset: "utf8",
  jsx: "automatic", jsxImportSource: "preact", legalComments: "none",
});
const style = await build({
  entryPoints: [new URL("src/page.css", here).pathname], minify: true, write: false, charset: "utf8",
});
const page = readFileSync(new URL("src/page.html", here), "utf8")
  .replace("/*STYLE*/", () => style.outputFiles[0].text.trim())
  .replace("/*SCRIPT*/", () => result.outputFiles[0].text.trim().replaceAll("</script", "<\\/script"))
  .replace("SOURCES", `sources sha256 ${hash.digest("hex")}`);
writeFileSync(new URL("../../minicnn/inspect/page/explain.html", here), page);
console.log(`explain.html: ${page.length} characters`);
