// Opens a report in headless Chromium and uses it: `node scripts/check_report.mjs REPORT.html [SCREENSHOTS]`.
//
// Wants playwright-core (`make .deps/playwright/installed`) and Chromium (Debian's package `chromium`). Fails if the page logs an error or a
// warning, asks for anything beyond itself, is wider than the screen, or does not do what its keys and filters say.
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(new URL("../.deps/playwright/", import.meta.url));
const { chromium } = require("playwright-core");
const [report, pictures] = process.argv.slice(2);
const address = `file://${resolve(report)}`;
const problems = [];
const expect = (holds, what) => { if (!holds) problems.push(what); };
const SCREENS = [["light", 1300, 1500], ["dark", 1300, 1500], ["phone", 390, 844]];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
for (const [name, width, height] of SCREENS) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: name === "dark" ? "dark" : "light", offline: true });
  const page = await context.newPage();
  page.on("console", (message) => expect(!["error", "warning"].includes(message.type()), `${name}: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`${name}: ${error.message}`));
  page.on("request", (request) => expect(/^(file|data|blob):/.test(request.url()), `${name}: asks for ${request.url()}`));
  const ready = () => page.waitForSelector('html[data-ready="yes"]', { timeout: 60_000 });
  await page.goto(address);
  await ready();
  expect((await page.locator(".u-wrap").count()) > 3, `${name}: there are no curves`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(over <= 0, `${name}: ${over} px wider than the screen`);
  if (pictures) await page.screenshot({ path: `${pictures}-${name}.png` });
  if (name === "light") await use(page, ready);
  await context.close();
}
await browser.close();
if (problems.length) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log("the report is as it should be");

/** Filter, search, keys, comparison, reload, heat map, theme. */
async function use(page, ready) {
  const found = async () => Number((await page.textContent("#found")).split(" of ")[0].replaceAll(",", ""));
  const settled = () => page.waitForTimeout(400);
  const all = await found();
  expect(all > 0, "no attempt is listed");
  await page.keyboard.press("/");
  await page.keyboard.type("no program has this in it");
  await settled();
  expect((await found()) === 0, "the search finds what is not there");
  await page.click('#filter button[type="reset"]');
  await settled();
  expect((await found()) === all, "clearing the filter does not bring everything back");
  let ended = 0;
  for (const kind of ["0", "1", "2", "3", "4"]) {
    await page.selectOption("#end", kind);
    await settled();
    ended += await found();
  }
  expect(ended === all, `the ways to end add up to ${ended} of ${all}`);
  await page.click('#filter button[type="reset"]');
  await settled();
  await page.focus("#list");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  expect((await page.locator(".attempt").count()) === 1, "arrow keys show no attempt");
  await page.keyboard.press("c");
  expect((await page.locator(".attempt").count()) === 2, "`c` does not lay an attempt beside another");
  await page.keyboard.press("a");
  const written = page.locator(".attempt .painted:visible");
  const known = await page.locator(".attempt .painted").count();
  expect((await written.count()) === known, "`a` does not show what each token was worth");
  for (let place = 0; place < known; place++) {
    const [text, colours] = await written.nth(place).evaluate((text) => [text.textContent, [...text.children].map((piece) => piece.style.background)]);
    expect(text.length > 0 && colours.length > 0, "a completion is painted without its text");
  }
  if (pictures) await page.locator("#programs").screenshot({ path: `${pictures}-programs.png` });
  await page.reload();
  await ready();
  expect((await page.locator(".attempt").count()) === 2, "a reload forgets what was shown");
  expect((await written.count()) === known, "a reload forgets that completions were shown");
  await page.locator(".row button").first().click();
  await settled();
  expect((await page.locator(".row.test").count()) > 0, "a task does not show its tests");
  expect((await found()) > 0 && (await found()) < all, "a task does not filter the attempts");
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  await page.keyboard.press("t");
  expect((await theme()) === "dark", "`t` does not turn the theme");
}
