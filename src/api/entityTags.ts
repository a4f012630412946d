import { ProblemError } from './problem.js';

/** RFC 9110, section 8.8.3; Node hands on a header's bytes as Latin-1. */
const TAG = /(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g;
const WEAK = 'W/';
/** Stands for a tag; no header has it. */
const PLACE = '\u0000';

/** The tags that an If-Match or an If-None-Match lists, or `*`: whichever there is. */
export type TagCondition = '*' | readonly string[];

/** @throws ProblemError 400 for what is no list of entity tags */
export function tagCondition(field: 'If-Match' | 'If-None-Match', header: string): TagCondition {
  if (header.trim() === '*') return '*';
  const tags: string[] = [];
  const rest = header.replaceAll(TAG, (tag) => {
    tags.push(tag);
    return PLACE;
  });
  const isList = rest.split(',').every((element) => ['', PLACE].includes(element.trim()));
  if (isList && tags.length > 0) return tags;
  throw new ProblemError(
    400,
    'InvalidInput',
    `${field} must be * or a list of entity tags in double quotes, as the ETag of an answer is.`,
  );
}

/** Strong comparison, for If-Match: a weak tag is equal to none (RFC 9110, section 13.1.1). */
export function matchesStrongly(condition: TagCondition, current: string): boolean {
  return condition === '*' || condition.some((tag) => tag === current && !tag.startsWith(WEAK));
}

/** Weak comparison, for If-None-Match: whether a tag is weak makes no difference (RFC 9110, section 13.1.2). */
export function matchesWeakly(condition: TagCondition, current: string): boolean {
  const opaque = (tag: string) => (tag.startsWith(WEAK) ? tag.slice(WEAK.length) : tag);
  return condition === '*' || condition.some((tag) => opaque(tag) === opaque(current));
}
