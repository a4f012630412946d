import { FederatorError } from '../contract/errors.js';

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads an option's duration, e.g. 90s, 10m, 2h, as milliseconds. @throws FederatorError InvalidInput */
export function durationOf(option: string): (text: string) => number {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?)([smh])$/.exec(text);
    const ms = match === null ? 0 : Number(match[1]) * (UNITS[match[2] ?? 's'] ?? 0);
    if (ms > 0) return ms;
    throw new FederatorError('InvalidInput', `${option} takes a duration such as 90s, 10m or 2h, not ${text}.`);
  };
}
