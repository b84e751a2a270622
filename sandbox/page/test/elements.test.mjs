// Every element of Block Kit that a bot may use, with an app behind it that says what
// reached it; ../page_test.go is that app.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { accessible, launch, picture, visit } from "./browser.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const composer = (page) => page.locator("[data-composer=channel]");
const got = (page, text) => page.locator(".messages").getByText(text).last().waitFor();

test("what stands in a message can be read and used", async (t) => {
  const page = await visit(t, browser);
  await composer(page).fill("/show");
  await composer(page).press("Enter");
  const message = page.locator("article", { hasText: "Every element" });
  await message.waitFor();
  for (const text of ["@bob", "#general", "@approvers", /Tuesday,? 1 January 2030 at 01:00/, "as it is", "second", "two, at 09:35:10"]) {
    await message.getByText(text).first().waitFor();
  }
  assert.equal(await message.getByRole("link", { name: "a link" }).getAttribute("href"), "https://example.com/");
  await message.getByText("🔑").waitFor();
  await message.getByRole("row", { name: "GetParameter mallory" }).waitFor();
  await accessible(page, "a message with every element");

  await message.getByRole("button", { name: "More" }).click();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await got(page, 'more is "30d"');
  await message.getByLabel("Pick one").selectOption("Second");
  await got(page, 'pick is "b"');
  assert.equal(await message.getByLabel("Pick one").inputValue(), "b", "what was chosen stays to be seen");
  await message.getByLabel("Pick a day").fill("2026-12-24");
  await got(page, 'day is "2026-12-24"');
  await message.getByRole("button", { name: "Burn it" }).click();
  await page.getByRole("dialog", { name: "Are you sure?" }).getByRole("button", { name: "No" }).click();
  await message.getByRole("button", { name: "Burn it" }).click();
  await picture(page, "elements");
  await page.getByRole("dialog", { name: "Are you sure?" }).getByRole("button", { name: "Yes, burn it" }).click();
  await got(page, 'sure is "v"');
  assert.equal(await page.locator(".messages").getByText('sure is "v"').count(), 1, "a refused confirmation reached the app");
});

test("a modal takes every kind of input, and tells what is wrong with it", async (t) => {
  const page = await visit(t, browser);
  await composer(page).fill("/ask");
  await composer(page).press("Enter");
  const modal = page.getByRole("dialog", { name: "Every input" });
  await modal.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "INPUT", "the first input has the focus");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await modal.getByText("Please complete this required field.").nth(9).waitFor(); // of fourteen inputs, two are filled in and one is optional
  await accessible(page, "a modal with every input and its errors");
  await modal.getByLabel("Number").fill("12");
  await modal.getByLabel("Mail").fill("a@b.example");
  await modal.getByLabel("One", { exact: true }).selectOption("Second");
  await modal.getByRole("group", { name: "Many" }).getByLabel("Red").check();
  await modal.getByRole("group", { name: "Many" }).getByLabel("Blue").check();
  await modal.getByLabel("A month").check();
  await modal.getByLabel("I have asked").check();
  await modal.getByLabel("Day", { exact: true }).fill("2026-12-24");
  await modal.getByLabel("Hour").fill("18:30");
  await modal.getByLabel("Moment").fill("2026-12-24T18:30");
  await modal.getByLabel("Person").selectOption("carol");
  await modal.getByLabel("Place").selectOption("#general");
  await picture(page, "inputs");
  await modal.getByRole("button", { name: "Send off" }).click();
  await modal.getByText("That is wrong.").waitFor();
  await modal.getByLabel("Line").fill("right");
  await modal.getByRole("button", { name: "Send off" }).click();
  await modal.waitFor({ state: "detached" });
  for (const text of [
    'line is "right"', 'text is "as before"', 'number is "12"', 'mail is "a@b.example"', "link is null", 'one is "b"', 'many is "r","b"', 'radio is "30d"',
    'ticks is "looked","asked"', 'day is "2026-12-24"', 'hour is "18:30"', "moment is 1798133400", 'person is "U0CAROL001"', 'place is "C0GENERAL01"',
  ]) {
    await got(page, text);
  }

  await composer(page).fill("/ask");
  await composer(page).press("Enter");
  await modal.waitFor();
  await page.keyboard.press("Escape");
  await modal.waitFor({ state: "detached" });
});

test("the Home tab is the person's own, and its buttons work", async (t) => {
  const page = await visit(t, browser);
  await page.keyboard.press("h");
  await page.getByText("What is due").waitFor();
  await accessible(page, "the Home tab");
  await page.getByRole("button", { name: "Rotate it" }).click();
  await page.getByRole("button", { name: /platform-ops/ }).click();
  await got(page, 'due is "github/dev"');
});

test("an app that is gone or silent is told in place", async (t) => {
  const page = await visit(t, browser);
  await composer(page).fill("/silence");
  await composer(page).press("Enter");
  await page.getByRole("alert").getByText("operation_timeout").waitFor();
  assert.equal(await composer(page).inputValue(), "/silence", "what was typed is kept");
});
