// A person's way through the pod, in a real browser on the real program.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { startPod } from "./pod.js";
import { song } from "./song.js";

const shots = fileURLToPath(new URL("../../target/browser/", import.meta.url));
const PATIENCE = 60_000;
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

let pod;
let browser;
let context;

before(async () => {
  mkdirSync(shots, { recursive: true });
  pod = await startPod();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
  context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
});

after(async () => {
  await browser?.close();
  assert.equal(await pod?.stop(), 0, "an orderly end");
});

const probe = (page) => page.evaluate(() => window.__greenroom());
const shot = (page, name) => page.screenshot({ path: `${shots}${name}.png` });

/** Waits until the page's own figures say so. */
async function until(page, what, holds) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const figures = await probe(page);
    if (holds(figures)) return figures;
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(figures)}\n${pod.log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function open() {
  const page = await context.newPage();
  page.on("pageerror", (error) => assert.fail(`the page threw: ${error}`));
  await page.goto(pod.address);
  return page;
}

let first;

test("a song is dropped in, accepted with tempo and key, and heard", async () => {
  first = await open();
  await shot(first, "1-empty");
  await first.getByTestId("file").setInputFiles(song());
  await first.getByTestId("connection").getByText("live").waitFor({ timeout: PATIENCE });
  assert.match(await first.getByTestId("bpm").innerText(), /^\d{2,3} BPM$/);
  assert.match(await first.getByTestId("key").innerText(), /^[A-G][#b]? (major|minor)$/);
  await until(first, "sound", ({ rms, slices }) => rms > 0.001 && slices > 3);
});

test("stems arrive, and a solo changes the sound without a break", async () => {
  await until(first, "stems", ({ stemsLoaded }) => stemsLoaded !== null);
  const before = await probe(first);
  await first.getByTestId("solo-vocals").click();
  await first.waitForTimeout(1_000);
  await first.getByTestId("solo-instruments").click();
  await first.getByTestId("solo-vocals").click();
  await first.waitForTimeout(1_000);
  const after = await probe(first);
  assert.ok(after.blocks - before.blocks > 500, "the player went on");
  assert.ok(after.silentBlocks - before.silentBlocks < 5, `no break: ${after.silentBlocks - before.silentBlocks} silent blocks`);
  await shot(first, "2-stems");
  await first.getByTestId("solo-instruments").click();
});

test("knobs bring new slices, and none is late", async () => {
  const before = await probe(first);
  await first.getByTestId("knob-denoise").fill("0.8");
  const after = await until(first, "new slices", ({ slices }) => slices > before.slices + 5);
  assert.ok(after.slicesLate - before.slicesLate <= 1, `${after.slicesLate - before.slicesLate} slices were late`);
  await shot(first, "3-knobs");
});

test("a second tab takes the pod over, and the first stays quiet", async () => {
  const second = await open();
  await second.getByTestId("start").click();
  await second.getByTestId("connection").getByText("live").waitFor({ timeout: PATIENCE });
  await first.getByTestId("takeover").waitFor({ timeout: PATIENCE });
  assert.equal(await first.getByTestId("takeover").innerText(), "another connection took over this pod");
  await shot(first, "4-takeover");
  await first.waitForTimeout(5_000);
  assert.equal((await probe(first)).connection, "taken_over");
  assert.equal((await probe(second)).connection, "live");
  await first.close();

  await second.reload();
  const tracks = second.getByTestId("tracks");
  await tracks.getByText("slow-motion-dream").first().waitFor({ timeout: PATIENCE });
  await second.getByTestId("start").click();
  await second.getByTestId("connection").getByText("live").waitFor({ timeout: PATIENCE });
  await until(second, "sound after a reload", ({ rms }) => rms > 0.001);
  await shot(second, "5-reloaded");
  await second.close();
});
