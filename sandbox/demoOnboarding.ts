import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SandboxError } from './sandboxError.js';

const LIMIT_MS = 5 * 60_000;

/** A call of the API as its users make it. */
export interface ApiAccess {
  url: string;
  token: string;
}

interface ClusterState {
  state: string;
  change?: { result?: { joined?: string; trustDomain?: string } };
}

/** Onboards a cluster by one call, and follows it to its end. Nothing is done where it was onboarded before. */
export async function onboard(api: ApiAccess, directory: string, cluster: string, federation: string): Promise<void> {
  const kubeconfig = readFileSync(path.join(directory, cluster, 'engine.kubeconfig'), 'utf8');
  const body = { name: cluster, kubeconfig, joinFederation: federation, probe: false };
  const startedAt = Date.now();
  const known = await call(api, 'GET', `/v1/clusters/${cluster}`);
  if (known.status === 200 && (JSON.parse(known.text) as ClusterState).state !== 'failed') {
    console.log(`  ${cluster} was onboarded before`);
    return;
  }
  console.log(
    `  POST ${api.url}/v1/clusters {"name": "${cluster}", "kubeconfig": …, "joinFederation": "${federation}"}`,
  );
  const answer = await call(api, 'POST', '/v1/clusters', body);
  if (answer.status !== 202) throw new SandboxError(`The API refused ${cluster}: ${answer.text}`);
  console.log(`  ${answer.status}: ${answer.text}`);
  let said = '';
  for (;;) {
    const { text } = await call(api, 'GET', `/v1/clusters/${cluster}`);
    const { state, change } = JSON.parse(text) as ClusterState;
    if (state !== said) console.log(`  ${seconds(Date.now() - startedAt)} s  ${cluster}: ${state}`);
    said = state;
    if (state === 'ready') {
      const { joined, trustDomain } = change?.result ?? {};
      if (joined !== undefined) console.log(`  ${trustDomain} has joined federation ${joined}`);
      return;
    }
    if (state === 'failed' || Date.now() - startedAt > LIMIT_MS)
      throw new SandboxError(`${cluster} was not onboarded: ${text}`);
    await delay(500);
  }
}

async function call(
  { url, token }: ApiAccess,
  method: string,
  at: string,
  body?: unknown,
): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}${at}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, text: await response.text() };
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
