import { setTimeout as delay } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import type { ApiProcess } from './apiProcess.js';

/** As src/console/session.js keeps it. */
const TOKEN_KEY = 'spire-federator-token';
const LIMIT_MS = 60_000;
const LOOK_MS = 10;

/** Milliseconds from the beginning of the navigation. */
export interface GraphTimes {
  /** All nodes of the graph are drawn. */
  drawn: number;
  /** A click on a node has opened its detail. */
  interactive: number;
}

/** First contentful paint in milliseconds of whoever opens the console for the first time. */
export async function firstPaint(browser: Browser, { url }: ApiProcess): Promise<number> {
  return inNewPage(browser, async (page) => {
    await page.goto(`${url}/console`);
    return Number(await evaluated(page, `performance.getEntriesByName('first-contentful-paint')[0]?.startTime`));
  });
}

/** Opens the graph of a federation of so many clusters, by its address and with a token, and the detail of one of them. */
export async function openGraph(
  browser: Browser,
  api: ApiProcess,
  federation: string,
  clusters: readonly string[],
): Promise<GraphTimes> {
  return signedIn(browser, api, `federation=${federation}&view=graph`, async (page, now) => {
    // By selectors: to look for roles takes its time among ten thousand cells, which is not the console's.
    await evaluated(page, `document.querySelectorAll('svg.graph .cluster').length === ${clusters.length}`);
    const drawn = await now();
    const chosen = clusters[Math.floor(clusters.length / 2)] ?? '';
    await page.locator(`svg.graph [data-key="${chosen}"] circle`).click();
    await page.locator('#detail h2', { hasText: chosen }).waitFor();
    return { drawn, interactive: await now() };
  });
}

/** Opens the matrix of a federation. @returns milliseconds from the beginning of the navigation until it is there */
export async function openMatrix(browser: Browser, api: ApiProcess, federation: string): Promise<number> {
  return signedIn(browser, api, `federation=${federation}&view=matrix`, async (page, now) => {
    await page.locator('#view table').waitFor();
    return now();
  });
}

async function signedIn<T>(
  browser: Browser,
  { url, token }: ApiProcess,
  address: string,
  work: (page: Page, now: () => Promise<number>) => Promise<T>,
): Promise<T> {
  return inNewPage(browser, async (page) => {
    await page.addInitScript(`sessionStorage.setItem('${TOKEN_KEY}', '${token}')`);
    await page.goto(`${url}/console#${address}`);
    return work(page, async () => Number(await page.evaluate('performance.now()')));
  });
}

/** What an expression comes to that is true at last. Whoever waits within the page evaluates it there, which the console forbids. */
async function evaluated(page: Page, expression: string): Promise<unknown> {
  const deadline = Date.now() + LIMIT_MS;
  while (Date.now() < deadline) {
    const value: unknown = await page.evaluate(expression);
    if (value !== undefined && value !== false) return value;
    await delay(LOOK_MS);
  }
  throw new Error(`not within ${LIMIT_MS / 1_000} s: ${expression}`);
}

/** A context of its own has an empty cache. */
async function inNewPage<T>(browser: Browser, work: (page: Page) => Promise<T>): Promise<T> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(LIMIT_MS);
    return await work(page);
  } finally {
    await context.close();
  }
}
