// The page, as people use it: with the real bot behind it. ../../../page_test.go
// starts both and says where they are.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { accessible, become, launch, picture, visit } from "./browser.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const card = (page) => page.locator(".chat article", { hasText: "Operation" }).filter({ has: page.getByRole("heading") }).last();
const thread = (page) => page.getByRole("region", { name: "Thread" });
const composer = (page) => page.locator("[data-composer=channel]");

test("two people rotate a secret by mouse", async (t) => {
  const size = { viewport: { width: 1240, height: 700 } };
  const alice = await visit(t, browser, size);
  const bob = await visit(t, browser, size);
  await become(bob, "bob");
  await bob.getByRole("button", { name: /general/ }).click();

  await alice.getByText("You are alice. Ask for a rotation").waitFor();
  await picture(alice, "first-look");
  await accessible(alice, "the first look");
  await alice.getByRole("button", { name: "Type it for me" }).click();
  assert.equal(await composer(alice).inputValue(), "/rotate sharepoint prod CHG0012345 yearly rotation");
  await alice.getByRole("button", { name: "Send" }).click();
  await card(alice).getByRole("button", { name: "Confirm" }).waitFor();
  await alice.getByText("Only visible to you").waitFor();
  await bob.getByRole("button", { name: /platform-ops.*1 unread/ }).waitFor();

  await card(alice).getByRole("button", { name: "Confirm" }).click();
  await alice.getByRole("dialog").getByRole("button", { name: "Confirm" }).click();
  const refusal = "another person has to turn the second key";
  await alice.locator(".ephemeral", { hasText: refusal }).waitFor();
  await picture(alice, "refused");
  await accessible(alice, "the card and a refusal");

  await bob.getByRole("button", { name: /platform-ops/ }).click();
  await card(bob).getByText("Waiting for a second person").waitFor();
  assert.equal(await bob.getByText(refusal).count(), 0, "bob reads what only alice was told");
  await picture(bob, "card");
  await card(bob).getByRole("button", { name: "Confirm" }).click();
  await bob.getByRole("dialog").getByRole("button", { name: "Confirm" }).click();
  await bob.getByRole("button", { name: "Open the thread" }).click();
  await thread(bob).getByText("Put it into the live parameter").last().waitFor();
  await picture(bob, "running");
  await thread(bob).getByText("lives on until").waitFor();
  await thread(bob).getByText("Waiting for the overlap to end").waitFor();
  await bob.getByText("two keys work: an overlap").waitFor();
  await bob.getByText("Every task could always get a token.").waitFor();
  await picture(bob, "overlap");
  await accessible(bob, "the thread and the infrastructure");
  await bob.setViewportSize({ width: 1480, height: 600 }); // the channel stays beside the thread
  await card(bob).getByText("Clear up").scrollIntoViewIfNeeded();
  await picture(bob, "rotation");

  await bob.getByRole("button", { name: "Jump a day ahead" }).click();
  await thread(bob).getByText("Prove the old secret is refused").last().waitFor();
  await bob.getByRole("button", { name: /sharepoint\/prod well/ }).waitFor();
  await card(alice).getByText("Done", { exact: true }).waitFor(); // without reloading
  await bob.getByRole("button", { name: /sharepoint\/prod well/ }).click();
  await bob.locator(".chip", { hasText: /removed \d/ }).waitFor();
  await picture(bob, "done");
});

test("two people rotate a secret by keyboard alone", async (t) => {
  const page = await visit(t, browser);
  const key = (name) => page.keyboard.press(name);
  await key("/");
  await page.getByRole("option", { name: /^\/rotate/ }).waitFor();
  await page.keyboard.type("rot");
  await key("Tab");
  assert.equal(await composer(page).inputValue(), "/rotate ");
  await page.keyboard.type("github dev it ends in five days");
  await key("Enter");
  await card(page).getByText("it ends in five days").waitFor();
  await card(page).getByRole("button", { name: "Confirm" }).waitFor();

  await key("Escape"); // leaves the composer
  await key("2");
  assert.ok(await page.getByRole("radio", { name: /^bob/ }).isChecked());
  await page.getByText("You are bob, who may confirm").waitFor();
  await tabTo(page, "Show the card");
  await key("Enter");
  await focused(page, "Confirm");
  await key("Enter");
  await page.getByRole("dialog").waitFor();
  await focused(page, "Confirm");
  await key("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await focused(page, "Confirm"); // given back
  await key("Enter");
  await key("Enter");
  await card(page).getByText("Confirmed by").waitFor();
  await page.locator(".thread-link").last().waitFor();
  await key("t");
  await thread(page).getByText("lives on until").waitFor();
  await key("Escape");
  await thread(page).waitFor({ state: "detached" });
  await key("?");
  await page.getByRole("heading", { name: "Keyboard shortcuts" }).waitFor();
  await picture(page, "keys");
  await accessible(page, "the shortcuts");
  await key("Escape");
  await page.getByText("Both keys work for a day").waitFor();
  await key("i");
  await focused(page, "Secrets");
});

test("on a phone a form is filled in, and a request denied with a reason", async (t) => {
  const page = await visit(t, browser, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await composer(page).fill("/rotate");
  await page.getByRole("button", { name: "Send" }).tap();
  const form = page.getByRole("dialog", { name: "Rotate a secret" });
  await form.getByLabel("Server").selectOption("jira");
  await form.getByLabel("Environment").selectOption("dev");
  await form.getByLabel("Reason").fill("why");
  await form.getByRole("button", { name: "Ask" }).tap();
  await form.getByText("Please enter at least 5 characters.").waitFor();
  await picture(page, "phone-form");
  await accessible(page, "a form with an error");
  await fits(page);
  await form.getByLabel("Reason").fill("the vendor asks for it");
  await form.getByRole("button", { name: "Ask" }).tap();
  await form.waitFor({ state: "detached" });
  await card(page).getByText("the vendor asks for it").waitFor();
  await picture(page, "phone-card");
  await fits(page);

  await become(page, "carol");
  await card(page).getByRole("button", { name: "Deny" }).tap();
  const why = page.getByRole("dialog", { name: "Deny the request" });
  await why.getByLabel("Reason").fill("not during the release");
  await why.getByRole("button", { name: "Deny" }).tap();
  await card(page).getByText("Denied", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Systems" }).tap();
  await page.getByRole("button", { name: /jira\/dev/ }).tap();
  await page.getByRole("heading", { name: "Keys in Entra" }).first().waitFor();
  await picture(page, "phone-systems");
  await accessible(page, "the infrastructure on a phone");
  await fits(page);
  await page.getByRole("button", { name: "Channels" }).tap();
  await page.getByRole("button", { name: /general/ }).tap();
  await page.getByText("Nothing was said here yet.").waitFor();
});

test("it is dark where the system is, and as readable", async (t) => {
  const page = await visit(t, browser, { colorScheme: "dark" });
  await page.getByText("Rotate github/dev").first().waitFor();
  assert.ok((await lightness(page, "body")) < 60, "the page is light");
  await page.getByRole("button", { name: "Thread", exact: false }).or(page.locator(".thread-link")).last().click();
  await picture(page, "dark");
  await accessible(page, "the dark page");
});

test("everybody sees what Slack would show them", async (t) => {
  const page = await visit(t, browser);
  await become(page, "stan");
  await page.getByRole("heading", { name: "#shared-with-vendor" }).waitFor();
  assert.equal(await page.getByRole("button", { name: /platform-ops/ }).count(), 0);
  await become(page, "erin");
  await page.getByText("account is deactivated").waitFor();
  await become(page, "gina");
  await page.getByRole("button", { name: /platform-ops/ }).click();
  await composer(page).fill("/rotate jira prod I would like to");
  await composer(page).press("Enter");
  await page.getByText("Only visible to you").waitFor();
  await composer(page).fill("/nonsense");
  await composer(page).press("Enter");
  await page.getByRole("alert").getByText("/nonsense is not a valid command.").waitFor();
});

test("things can be broken and mended", async (t) => {
  const page = await visit(t, browser, { refusals: true });
  await page.getByRole("tab", { name: "Break things" }).click();
  await page.getByRole("button", { name: "Forbid writing parameters" }).click();
  await page.getByText("refuse, 1 left").waitFor();
  await page.getByRole("button", { name: "The service gets stuck" }).click();
  await page.getByText("is stuck").waitFor();
  await page.getByLabel("Call").fill("nobody");
  await page.getByRole("button", { name: "Set" }).click();
  await page.getByText("operation must be").or(page.getByText("Operation must be")).waitFor();
  await picture(page, "break");
  await accessible(page, "what can be broken");
  await page.getByRole("button", { name: "Mend everything" }).click();
  await page.getByText("Nothing.", { exact: true }).waitFor();
  await page.getByRole("button", { name: "+1 h" }).click();
  await page.getByText(/\bh .*ahead/).waitFor();
});

test("two people disable a leaked secret by mouse, and follow it in its channel", async (t) => {
  const alice = await visit(t, browser);
  const bob = await visit(t, browser);
  await become(bob, "bob");
  await composer(alice).fill("/emergency-disable confluence prod it stood in a public repository");
  await alice.getByRole("button", { name: "Send" }).click();
  const emergency = (page) => page.locator(".chat article", { hasText: "EMERGENCY: disable confluence/prod" }).last();
  await emergency(alice).getByRole("button", { name: "Confirm…" }).click();
  const own = alice.getByRole("dialog", { name: "Confirm by typing" });
  await own.getByLabel("Type the secret's name").fill("confluence/prod");
  await own.getByRole("button", { name: "Confirm" }).click();
  await own.waitFor({ state: "detached" });
  await emergency(alice).getByRole("button", { name: "Confirm…" }).waitFor(); // her own does not count
  await bob.getByRole("button", { name: /platform-ops/ }).click();
  await picture(bob, "emergency-card");
  await accessible(bob, "the card of an emergency");
  await emergency(bob).getByRole("button", { name: "Confirm…" }).click();
  const form = bob.getByRole("dialog", { name: "Confirm by typing" });
  await form.getByLabel("Type the secret's name").fill("confluence/prod");
  await accessible(bob, "the form that wants the secret's name");
  await form.getByRole("button", { name: "Confirm" }).click();
  await form.waitFor({ state: "detached" });
  await bob.getByRole("button", { name: /inc-\d{4}-\d\d-\d\d-confluence-prod/ }).click();
  await bob.locator(".thread-link").first().click();
  await thread(bob).getByText("Prove the stolen secret is refused").last().waitFor();
  await thread(bob).getByText("Draft the report").last().waitFor();
  await thread(bob).getByText("Every step is done and verified").waitFor();
  await picture(bob, "emergency");
  await thread(bob).getByRole("row", { name: /^Verdict/ }).scrollIntoViewIfNeeded();
  await picture(bob, "findings");
  await accessible(bob, "the channel of an emergency");
});

test("two people disable a leaked secret by keyboard alone", async (t) => {
  const page = await visit(t, browser);
  const key = (name) => page.keyboard.press(name);
  await key("/");
  await page.getByRole("option", { name: /^\/emergency-disable/ }).waitFor();
  await page.keyboard.type("emergency-disable jira prod a laptop was stolen");
  await key("Enter");
  const emergency = page.locator(".chat article", { hasText: "EMERGENCY: disable jira/prod" }).last();
  await emergency.getByRole("button", { name: "Confirm…" }).waitFor();
  await key("Escape"); // leaves the composer
  await key("2");
  await page.getByText("You are bob, who may confirm").waitFor();
  await tabTo(page, "Show the card");
  await key("Enter");
  await focused(page, "Confirm…");
  await key("Enter");
  await page.getByRole("dialog", { name: "Confirm by typing" }).waitFor();
  await page.keyboard.type("jira/prod");
  await key("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await emergency.getByText("Done", { exact: true }).waitFor();
});

test("a reminder is snoozed, by mouse and by keyboard", async (t) => {
  const page = await visit(t, browser, { viewport: { width: 1480, height: 900 } });
  await become(page, "bob");
  await page.getByRole("button", { name: "+1 day" }).click();
  await page.waitForTimeout(12000); await picture(page, "debug");
  await page.locator(".chat article", { hasText: /things? expires?/ }).last().locator(".thread-link").click();
  const reminder = (name) => thread(page).locator("article", { has: page.getByRole("heading", { name: new RegExp(name) }) }).last();
  await reminder("github/prod").getByRole("button", { name: "Snooze…" }).click();
  const form = page.getByRole("dialog", { name: "Snooze a reminder" });
  await form.getByLabel("Reason").fill("the vendor is in a release freeze");
  await picture(page, "snooze");
  await accessible(page, "the form of a snooze");
  await form.getByRole("button", { name: "Snooze" }).click();
  await form.waitFor({ state: "detached" });
  await reminder("github/prod").getByText("Snoozed by").waitFor();

  await reminder("jira/dev").getByRole("button", { name: "Snooze…" }).focus();
  await page.keyboard.press("Enter");
  await form.waitFor();
  await tabToLabel(page, "Reason");
  await page.keyboard.type("it goes away next week");
  await page.keyboard.press("Control+Enter");
  await form.waitFor({ state: "detached" });
  await reminder("jira/dev").getByText("Snoozed by").waitFor();
  await picture(page, "snoozed");
  await accessible(page, "reminders");
});

// tabToLabel presses Tab until what is filled in under that label has the focus.
async function tabToLabel(page, label) {
  for (let i = 0; i < 30; i++) {
    if (await page.getByRole("dialog").getByLabel(label).evaluate((e) => e === document.activeElement)) {
      return;
    }
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach ${label}`);
}

// tabTo presses Tab until a button of that name has the focus.
async function tabTo(page, name) {
  for (let i = 0; i < 60; i++) {
    if ((await nameOfFocused(page)) === name) {
      return;
    }
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach ${name}`);
}

const nameOfFocused = (page) => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent?.trim());

const focused = (page, name) => page.waitForFunction((want) => document.activeElement?.textContent?.trim() === want, name);

// fits fails where something is wider than the screen, or cut off at its edge.
async function fits(page) {
  const wide = await page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll(".messages, .scroll, .dialog-body")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.className || e.tagName),
  );
  assert.deepEqual(wide, [], "too wide");
}

const lightness = (page, selector) =>
  page.locator(selector).evaluate((e) => {
    const [r, g, b] = getComputedStyle(e).backgroundColor.match(/\d+/g).map(Number);
    return (r + g + b) / 3;
  });
