import type { LabelSelector } from '../contract/labelSelector.js';

/**
 * Why a label selector does not select an object with these labels; undefined when it does. An empty selector selects
 * everything (apimachinery: pkg/apis/meta/v1, LabelSelectorAsSelector).
 */
export function selectorMiss(selector: LabelSelector, labels: Readonly<Record<string, string>>): string | undefined {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return `label ${key} is ${labels[key] ?? 'missing'}, not ${value}`;
  }
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = labels[key];
    const list = values.join(', ');
    if (operator === 'In' && (value === undefined || !values.includes(value)))
      return `label ${key} is ${value ?? 'missing'}, none of ${list}`;
    if (operator === 'NotIn' && value !== undefined && values.includes(value))
      return `label ${key} is ${value}, which is excepted`;
    if (operator === 'Exists' && value === undefined) return `label ${key} is missing`;
    if (operator === 'DoesNotExist' && value !== undefined) return `label ${key} is there`;
  }
  return undefined;
}
