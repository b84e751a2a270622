// A browser for tests of the page: Debian's Chromium, driven by Playwright.
import { chromium } from "playwright-core";
import assert from "node:assert/strict";
import { readFile, mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

export const address = process.env.PAGE_URL;
const folder = process.env.SCREENSHOTS;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

// visit opens the page as a visitor of its own. What the browser complains of fails
// the test; a refusal of the sandbox does, too, unless refusals are what is tried.
export async function visit(t, browser, { refusals = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(40_000);
  const complaints = [];
  page.on("pageerror", (e) => complaints.push(e.message));
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && !(refusals && isRefusal(m)) && complaints.push(m.text()));
  page.on("request", (r) => !r.url().startsWith(address) && !r.url().startsWith("data:") && complaints.push("it asks " + r.url()));
  await page.goto(address + "/");
  await page.getByRole("radiogroup", { name: "You are" }).waitFor();
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, [], "the browser complains");
  });
  return page;
}

const isRefusal = (m) => /Failed to load resource.*40[0-9]/.test(m.text());

export const become = (page, name) => page.getByRole("radio", { name: new RegExp("^" + name + "\\b(?!\\.)") }).check();

// picture takes a screenshot, where they are wanted.
export async function picture(page, name) {
  if (folder) {
    await mkdir(folder, { recursive: true });
    await page.mouse.move(0, 0);
    await page.screenshot({ path: path.join(folder, name + ".png") });
  }
}

// accessible fails for what axe finds: missing names, low contrast, wrong roles.
export async function accessible(page, where) {
  await page.evaluate(axe); // evaluated by the debugger, which no policy stops
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const told = found.violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.slice(0, 3).map((n) => "    " + n.html.slice(0, 160) + "\n      " + n.failureSummary?.replaceAll("\n", " ")).join("\n")}`);
  assert.deepEqual(told, [], `${where} is not accessible`);
}
